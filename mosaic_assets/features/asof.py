"""The point-in-time kernel: for each label, the event that was the latest known at the label's time.

An event may be used at time T when ``event_ts <= T`` and ``known_ts <= T`` and ``event_ts >= T - ttl``.
Among those, the one with the largest ``(event_ts, known_ts)`` wins. An event becomes visible at
``v = max(event_ts, known_ts)``, so it can only win for labels at or after ``v``. Hence: sort the labels
alone; put each event into the slot of the first label of its key at or after ``v``; keep the best event
of each slot; carry the best one forward along the slots of a key. Events are never sorted as a whole; the
state is O(labels), so events may come batch by batch, in any order, and be located by several threads.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

__all__ = ["NOTHING", "AsofState", "Events", "LabelSlots", "Located", "asof"]

NOTHING = -1
INT64_MIN = np.iinfo(np.int64).min
MAX_BITS = 62
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Events:
    """A batch of events.

    Args:
        key: (events,) int64, the label key's code; negative for a key that no label has.
        event_ts: (events,) int64, microseconds UTC.
        known_ts: (events,) int64, microseconds UTC.
        row: (events,) int64, number of the row over all batches; also breaks ties, the larger wins.
    """

    key: Ints
    event_ts: Ints
    known_ts: Ints
    row: Ints


@dataclass(frozen=True)
class Located:
    """Events that have a slot: each array (events,) int64.

    Args:
        slot: The first label of the event's key at or after the time at which it became visible.
        event_ts: Event time.
        known_ts: Known time.
        row: Row.
    """

    slot: Ints
    event_ts: Ints
    known_ts: Ints
    row: Ints

    def take(self, at: npt.NDArray[np.intp]) -> "Located":
        """Returns the events at these positions."""
        return Located(self.slot[at], self.event_ts[at], self.known_ts[at], self.row[at])


class LabelSlots:
    """Labels sorted by key and time: one slot each. Shared by all views with the same keys.

    Args:
        key: (labels,) int64 codes; negative (a NULL key) never matches.
        label_ts: (labels,) int64, microseconds UTC.
    """

    def __init__(self, key: Ints, label_ts: Ints) -> None:
        self._first, self._last = (int(label_ts.min()), int(label_ts.max())) if len(key) else (0, 0)
        span = self._last - self._first + 2  # one more than the times: room for "after the last label"
        num_keys = int(key.max()) + 1 if len(key) else 0
        # Key and time in one integer, if both fit; else the time's rank among the labels' times stands for it.
        self._times = None if num_keys.bit_length() + span.bit_length() <= MAX_BITS else np.unique(label_ts)
        self._span = span if self._times is None else len(self._times) + 1
        self._shift = max(0, (num_keys * self._span).bit_length() - 16)
        place = key * self._span + self._moment(label_ts)
        self.order = np.argsort(place, kind="stable")  # (labels,) by key, then time
        self.key, self.ts, self._places = key[self.order], label_ts[self.order], place[self.order]

    def __len__(self) -> int:
        return len(self.key)

    def locate(self, events: Events) -> Located:
        """Returns the events that have a slot, in their order."""
        wanted = self._moment(np.maximum(events.event_ts, events.known_ts))
        wanted += events.key * self._span
        # Needles that are nearly sorted find their way in the cache; sorting their upper 16 bits alone is a radix sort.
        order = np.argsort((np.maximum(wanted, 0) >> self._shift).astype(np.uint16), kind="stable")
        slot = np.empty(len(wanted), np.int64)
        slot[order] = np.searchsorted(self._places, wanted[order])
        key_there = self._key_or_nothing[slot]
        inside = np.flatnonzero((key_there == events.key) & (events.key >= 0))
        return Located(slot[inside], events.event_ts[inside], events.known_ts[inside], events.row[inside])

    @cached_property
    def _key_or_nothing(self) -> Ints:
        """The slots' keys, and one more place for events after the last slot."""
        return np.append(self.key, NOTHING)

    def _moment(self, ts: Ints) -> Ints:
        """Returns (times,) int64 in [0, span): where a time lies among the labels' times."""
        if self._times is not None:
            return np.searchsorted(self._times, ts)
        clipped: Ints = np.clip(ts, self._first, self._last + 1)
        clipped -= self._first
        return clipped


class AsofState:
    """The best event of each slot so far; feed it batches in any order, then ask for the winners.

    Args:
        slots: The labels.
    """

    def __init__(self, slots: LabelSlots) -> None:
        self._slots = slots
        self._event = np.full(len(slots), INT64_MIN)  # (labels,) best event_ts of the slot
        self._known = np.full(len(slots), INT64_MIN)  # best known_ts among the events with that event_ts
        self._row = np.full(len(slots), NOTHING)  # best row among those
        self._known_of, self._row_of = self._event.copy(), self._event.copy()  # the event_ts, known_ts they are of

    def add(self, events: Events) -> None:
        """Puts a batch of events into their slots."""
        self.keep(self._slots.locate(events))

    def keep(self, found: Located) -> None:
        """Keeps the larger of each slot's best and the located events: by event time, known time, then row."""
        np.maximum.at(self._event, found.slot, found.event_ts)
        tied = found.take(np.flatnonzero(self._event[found.slot] == found.event_ts))
        _restart(self._known, self._known_of, tied.slot, tied.event_ts, INT64_MIN, self._row_of)
        np.maximum.at(self._known, tied.slot, tied.known_ts)
        tied = tied.take(np.flatnonzero(self._known[tied.slot] == tied.known_ts))
        _restart(self._row, self._row_of, tied.slot, tied.known_ts, NOTHING)
        np.maximum.at(self._row, tied.slot, tied.row)

    def winners(self, ttl_us: int | None = None) -> Ints:
        """Returns (labels,) int64: the winning event's row for each label in input order, ``NOTHING`` without one.

        Args:
            ttl_us: Longest allowed age of the event in microseconds; None: any age.
        """
        key, num_slots = self._slots.key, len(self._slots)
        # Rank the filled slots once; a running maximum over (key, rank) then carries the best one forward.
        filled = np.flatnonzero(self._row != NOTHING)
        ranked = filled[np.lexsort((self._row[filled], self._known[filled], self._event[filled]))]
        rank = np.zeros(num_slots, np.int64)
        rank[ranked] = np.arange(1, len(ranked) + 1)
        dense = np.cumsum(np.r_[0, np.diff(key) != 0]) if num_slots else key
        base = dense * (num_slots + 1)
        best = np.maximum.accumulate(base + rank) - base  # (labels,) rank of the winner, 0 without one
        won = (best > 0) & (key >= 0)
        slot = np.r_[0, ranked][best]
        if ttl_us is not None:
            # The winner has the largest event time, so if it has expired, all have.
            won &= self._event[slot] >= self._slots.ts - ttl_us
        result = np.empty(num_slots, np.int64)
        result[self._slots.order] = np.where(won, self._row[slot], NOTHING)
        return result


def asof(key: Ints, label_ts: Ints, events: Events, ttl_us: int | None = None) -> Ints:
    """Returns (labels,) int64: for each label the row of the event that was latest known, or ``NOTHING``.

    Example:
        >>> import numpy as np
        >>> label = np.array([10, 20])
        >>> events = Events(np.array([0, 0]), np.array([5, 8]), np.array([5, 15]), np.array([0, 1]))
        >>> asof(np.array([0, 0]), label, events).tolist()  # the second event is known too late for the first label
        [0, 1]
    """
    state = AsofState(LabelSlots(key, label_ts))
    state.add(events)
    return state.winners(ttl_us)


def _restart(best: Ints, best_of: Ints, slot: Ints, of: Ints, start: int, *below: Ints) -> None:
    """Forgets what slots hold of a more significant value that has been raised since.

    Args:
        best: (slots,) changed in place.
        best_of: (slots,) the more significant value that ``best`` belongs to; changed in place.
        slot: (values,) slots.
        of: (values,) their more significant value now.
        start: What ``best`` begins at.
        below: Marks of the less significant parts, which end with it.
    """
    stale = slot[best_of[slot] != of]
    best[stale] = start
    for mark in below:
        mark[stale] = INT64_MIN
    best_of[slot] = of
