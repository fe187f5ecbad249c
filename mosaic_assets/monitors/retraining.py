"""Whether an incident sets off a retraining: a pure function of the incident log and a cursor."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mosaic_assets.monitors.incidents import Event, current, is_open
from mosaic_resources.errors import UserError

__all__ = ["Cursor", "Launch", "should_launch"]


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
    events: Iterable[Event], cursor: Cursor, cooldown: timedelta, now_utc: datetime
) -> tuple[list[Launch], Cursor]:
    """Returns the retraining to launch, if any, and the cursor to keep.

    At most one is launched within a cool-down, for all incidents that are open then. One that opens during the
    cool-down waits, and is launched after it if it is still open: no storm, and no miss.

    Args:
        events: The whole log of a monitor.
        cursor: As kept by the last tick.
        cooldown: Least time between two launches.
        now_utc: The clock's time.
    """
    waiting = [
        event
        for event in current(events).values()
        if is_open(event) and event.epoch > cursor.launched.get(event.key, 0)
    ]
    last = cursor.last_launch_utc
    if not waiting or (last is not None and now_utc - last < cooldown):
        return [], cursor
    worst = max(waiting, key=lambda event: (event.severity == "critical", event.score or 0.0, event.key))
    covers = tuple(sorted(event.name for event in waiting))
    launched = {**cursor.launched, **{event.key: event.epoch for event in waiting}}
    return [Launch(worst.name, covers)], Cursor(launched, now_utc)
