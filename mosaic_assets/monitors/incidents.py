"""Incidents: a state machine with hysteresis, kept as events that are only ever appended.

    none ──over for open_after windows──▶ open ──▶ acknowledged
                                           │            │
             resolved ◀──under for close_after windows──┘

Between the two thresholds nothing changes, so a flapping metric neither opens nor closes. Each opening of a key has
its own epoch, 1, 2, 3, …; ``<key>@<epoch>`` names what it sets off, once. Where that was in vain (``kept``: the
challenger was not promoted) and later windows are bad for open_after again, the incident opens anew under the next
epoch, so that newer rows get their chance; without an answer in between it never does.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from mosaic_resources.errors import UserError

__all__ = [
    "Event",
    "Observation",
    "Policy",
    "Reason",
    "State",
    "acknowledge",
    "claim",
    "current",
    "is_open",
    "keep",
    "observe",
    "resolve",
]

State = Literal["none", "open", "acknowledged", "resolved"]
Kind = Literal["observed", "opened", "acknowledged", "claimed", "kept", "resolved"]
Severity = Literal["warning", "critical"]


@dataclass(frozen=True)
class Reason:
    """One cause of an alarm, the worst first: a column, its metric, and the threshold that it is over."""

    column: str
    metric: str
    value: float
    threshold: float


@dataclass(frozen=True)
class Policy:
    """When an incident opens and closes.

    Args:
        open_over: A window counts as bad where its score is at or over this.
        close_under: A window counts as good where its score is under this; at most ``open_over``.
        open_after: Bad windows in a row that open it.
        close_after: Good windows in a row that close it.
        critical_over: From this score on it is critical, else a warning.
        owner: Who looks after it.

    Raises:
        UserError: The thresholds or the numbers of windows make no sense.
    """

    open_over: float = 0.10
    close_under: float = 0.05
    open_after: int = 1
    close_after: int = 1
    critical_over: float = 0.25
    owner: str = ""

    def __post_init__(self) -> None:
        if self.close_under > self.open_over:
            raise UserError(f"close_under {self.close_under} is above open_over {self.open_over}.", do="Lower it.")
        if min(self.open_after, self.close_after) < 1:
            raise UserError("open_after and close_after count windows.", do="Give 1 or more.")


@dataclass(frozen=True)
class Observation:
    """The score of one finished window against one baseline.

    Args:
        key: What is watched, for instance ``flight_delay/drift``.
        window_start: Start of the window, UTC.
        baseline_id: Identity of the baseline.
        score: Size of the trouble, for instance the share of columns with an alarm; None: not enough rows to say.
        reasons: Causes, the worst first.
    """

    key: str
    window_start: datetime
    baseline_id: str
    score: float | None
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class Event:
    """One line of the log; the last one of a key is its whole state.

    Args:
        sequence: Number of the event in its log, from 1.
        kind: What happened.
        state: State after it.
        epoch: Times that the key has been opened so far.
        num_over: Bad windows in a row up to now.
        num_under: Good windows in a row up to now.
        at_utc: The clock's time.
        by: Who did it; empty: the monitor.
        note: Why, in words.
    """

    sequence: int
    key: str
    kind: Kind
    state: State
    epoch: int
    window_start: datetime
    baseline_id: str
    score: float | None
    num_over: int
    num_under: int
    severity: Severity
    owner: str
    reasons: tuple[Reason, ...]
    at_utc: datetime
    by: str = ""
    note: str = ""

    @property
    def name(self) -> str:
        """``<key>@<epoch>``, the name of this opening of the incident."""
        return f"{self.key}@{self.epoch}"


def current(events: Iterable[Event]) -> dict[str, Event]:
    """Returns the last event of each key, which holds its state."""
    latest: dict[str, Event] = {}
    for event in events:
        if event.key not in latest or event.sequence > latest[event.key].sequence:
            latest[event.key] = event
    return latest


def is_open(event: Event | None) -> bool:
    """Returns whether an incident waits for its end."""
    return event is not None and event.state in ("open", "acknowledged")


def observe(events: Sequence[Event], seen: Observation, policy: Policy, now_utc: datetime) -> list[Event]:
    """Returns the events that a window adds to the log: none where it was seen before.

    A window counts once for each baseline. Older windows than the last one seen come too late to count. A moved
    baseline begins both counts anew, so the same window may close what it opened.

    Args:
        events: The log so far.
        seen: The window.
        policy: When to open and close.
        now_utc: The clock's time.
    """
    last = current(events).get(seen.key)
    if seen.score is None or _is_old(events, last, seen):
        return []
    same_baseline = last is not None and last.baseline_id == seen.baseline_id
    over, under = seen.score >= policy.open_over, seen.score < policy.close_under
    num_over = (last.num_over if last and same_baseline else 0) + 1 if over else 0
    num_under = (last.num_under if last and same_baseline else 0) + 1 if under else 0
    observed = Event(
        sequence=_next(events),
        key=seen.key,
        kind="observed",
        state=last.state if last else "none",
        epoch=last.epoch if last else 0,
        window_start=seen.window_start,
        baseline_id=seen.baseline_id,
        score=seen.score,
        num_over=num_over,
        num_under=num_under,
        severity="critical" if seen.score >= policy.critical_over else "warning",
        owner=policy.owner,
        reasons=seen.reasons,
        at_utc=now_utc,
    )
    answered = any(one.kind == "kept" and one.name == observed.name for one in events)
    return [observed, *_turned(observed, policy, moved=last is not None and not same_baseline, answered=answered)]


def acknowledge(events: Sequence[Event], key: str, by: str, now_utc: datetime, note: str = "") -> list[Event]:
    """Returns the event by which a person takes an open incident; none where it is taken already.

    Raises:
        UserError: The incident is not open.
    """
    last = _open_one(events, key)
    if last.state == "acknowledged":
        return []
    taken = replace(last, sequence=_next(events), kind="acknowledged", state="acknowledged")
    return [replace(taken, at_utc=now_utc, by=by, note=note)]


def keep(events: Sequence[Event], key: str, now_utc: datetime, note: str) -> list[Event]:
    """Returns the event by which an open incident learns that its retraining changed nothing; none where it knows.

    It stays open. Bad windows are counted anew from here: only later ones can open its next epoch.
    """
    last = current(events).get(key)
    if last is None or not is_open(last) or any(one.kind == "kept" and one.name == last.name for one in events):
        return []
    return [replace(last, sequence=_next(events), kind="kept", num_over=0, at_utc=now_utc, by="", note=note)]


def claim(events: Sequence[Event], key: str, by: str, now_utc: datetime, note: str = "") -> list[Event]:
    """Returns the event by which somebody takes it on to answer an open incident; the state stays as it is.

    Raises:
        UserError: The incident is not open.
    """
    last = _open_one(events, key)
    return [replace(last, sequence=_next(events), kind="claimed", at_utc=now_utc, by=by, note=note)]


def resolve(events: Sequence[Event], key: str, by: str, now_utc: datetime, note: str) -> list[Event]:
    """Returns the event by which a person closes an open incident.

    Raises:
        UserError: The incident is not open.
    """
    last = _open_one(events, key)
    ended = replace(last, sequence=_next(events), kind="resolved", state="resolved", num_over=0, num_under=0)
    return [replace(ended, at_utc=now_utc, by=by, note=note)]


def _is_old(events: Sequence[Event], last: Event | None, seen: Observation) -> bool:
    if last is None or seen.window_start > last.window_start:
        return False
    same = {event.baseline_id for event in events if event.key == seen.key and event.window_start == seen.window_start}
    return seen.window_start < last.window_start or seen.baseline_id in same


def _turned(observed: Event, policy: Policy, *, moved: bool, answered: bool) -> list[Event]:
    step = replace(observed, sequence=observed.sequence + 1)
    if (answered or not is_open(observed)) and observed.num_over >= policy.open_after:
        note = f"{observed.num_over} window(s) at or over {policy.open_over:g}"
        return [replace(step, kind="opened", state="open", epoch=observed.epoch + 1, num_under=0, note=note)]
    if is_open(observed) and observed.num_under >= policy.close_after:
        note = f"{observed.num_under} window(s) under {policy.close_under:g}{', new baseline' if moved else ''}"
        return [replace(step, kind="resolved", state="resolved", num_over=0, note=note)]
    return []


def _open_one(events: Sequence[Event], key: str) -> Event:
    last = current(events).get(key)
    if last is None or not is_open(last):
        raise UserError(f"Incident '{key}' is not open.", do="See the table monitors/incidents.")
    return last


def _next(events: Sequence[Event]) -> int:
    return max((event.sequence for event in events), default=0) + 1
