"""Whether an incident sets off a retraining: a pure function of the incident log, the known runs and a cursor."""

import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mosaic_assets.monitors.incidents import Event, claim, current, is_open
from mosaic_resources.errors import UserError

__all__ = ["Cursor", "Launch", "claims", "should_launch"]


@dataclass(frozen=True)
class Launch:
    """One retraining to launch.

    Args:
        run_key: ``<incident>@<epoch>``; Dagster never runs the same key twice.
        covers: All incidents that this retraining answers, by the same form of name.
    """

    run_key: str
    covers: tuple[str, ...]


@dataclass(frozen=True)
class Cursor:
    """What the sensor remembers between its ticks, as JSON.

    Args:
        launched: Incident key → newest epoch that a retraining answers.
        last_launch_utc: Time of the last launch, or None.
    """

    launched: Mapping[str, int] = field(default_factory=dict)
    last_launch_utc: datetime | None = None

    def to_json(self) -> str:
        """Returns the text that Dagster keeps."""
        last = self.last_launch_utc and self.last_launch_utc.isoformat()
        return json.dumps({"launched": dict(sorted(self.launched.items())), "last_launch_utc": last})

    @classmethod
    def from_json(cls, text: str | None) -> "Cursor":
        """Returns the cursor; an empty text is the first tick.

        Raises:
            UserError: The text is no cursor of this sensor.
        """
        if not text:
            return cls()
        try:
            kept = json.loads(text)
            last = kept["last_launch_utc"]
            launched = {str(key): int(epoch) for key, epoch in kept["launched"].items()}
            return cls(launched, datetime.fromisoformat(last) if last else None)
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise UserError("The retraining sensor's cursor is unreadable.", do="Reset it in the Dagster UI.") from exc


def should_launch(
    events: Sequence[Event],
    cursor: Cursor,
    cooldown: timedelta,
    now_utc: datetime,
    *,
    runs: AbstractSet[str] = frozenset(),
    launcher: str = "",
) -> tuple[list[Launch], Cursor]:
    """Returns the retraining to launch, if any, and the cursor to keep.

    At most one is launched within a cool-down, for all incidents that are open then. One that opens during the
    cool-down waits, and is launched after it if it is still open: no storm, and no miss.

    An opening of an incident is answered where the cursor says so, where a run says so, or where another launcher has
    claimed it in the log. A claim of this very launcher without a run is what a kill between the two leaves: it is
    launched again, under the same run key and without a cool-down.

    Args:
        events: The whole log of a monitor.
        cursor: As kept by the last tick.
        cooldown: Least time between two launches.
        now_utc: The clock's time.
        runs: Names of the openings that a run of this launcher answers, however it ended.
        launcher: Who asks; of everyone who could launch, one name each.
    """
    claimed = {event.name: event for event in events if event.kind == "claimed"}
    answered = {*runs, *(name for name, event in claimed.items() if event.by != launcher)}
    waiting = [
        event
        for event in current(events).values()
        if is_open(event) and event.epoch > cursor.launched.get(event.key, 0) and event.name not in answered
    ]
    times = [event.at_utc for name, event in claimed.items() if name in answered]
    last = max([*times, *([cursor.last_launch_utc] if cursor.last_launch_utc else [])], default=None)
    left = [event for event in waiting if event.name in claimed]
    if not waiting or (not left and last is not None and now_utc - last < cooldown):
        return [], cursor
    covered = left or waiting
    worst = max(covered, key=lambda event: (event.severity == "critical", event.score or 0.0, event.key))
    launch = Launch(worst.name, tuple(sorted(event.name for event in covered)))
    return [launch], Cursor({**cursor.launched, **{event.key: event.epoch for event in covered}}, now_utc)


def claims(events: Sequence[Event], launches: Sequence[Launch], launcher: str, now_utc: datetime) -> list[Event]:
    """Returns the events by which a launcher claims what its launches cover; none for what it has claimed already.

    Args:
        events: The log so far.
        launches: What is about to be launched.
        launcher: Who launches.
        now_utc: The clock's time.
    """
    mine = {event.name for event in events if event.kind == "claimed" and event.by == launcher}
    added: list[Event] = []
    for launch in launches:
        for name in (name for name in launch.covers if name not in mine):
            note = f"retraining {launch.run_key}"
            added += claim([*events, *added], name.rpartition("@")[0], launcher, now_utc, note)
    return added
