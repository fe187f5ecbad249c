"""The point-in-time kernel: for each label, the event that was the latest known at the label's time.

An event may be used at time T when ``event_ts <= T`` and ``known_ts <= T`` and ``event_ts >= T - ttl``.
Among those, the one with the largest ``(event_ts, known_ts)`` wins. An event becomes visible at
``v = max(event_ts, known_ts)``, so it can only win for labels at or after ``v``. Hence: sort the labels
alone; put each event into the slot of the first label of its key at or after ``v``; keep the best event
of each slot; carry the best one forward along the slots of a key. Events are never sorted as a whole; the
state is O(labels), so events may come batch by batch, in any order, and be located by several threads.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["NOTHING", "AsofState", "Events", "LabelSlots", "asof"]

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

    def take(self, at: npt.NDArray[np.intp]) -> "Events":
        """Returns the events at these positions."""
        return Events(self.key[at], self.event_ts[at], self.known_ts[at], self.row[at])


class LabelSlots:
    """Labels sorted by key and time: one slot each. Shared by all views with the same keys.

    Args:
        key: (labels,) int64 codes; negative (a NULL key) never matches.
        label_ts: (labels,) int64, microseconds UTC.
    """

    def __init__(self, key: Ints, label_ts: Ints) -> None:
        self.order = np.lexsort((label_ts, key))  # (labels,) by key, then time
        self.key, self.ts = key[self.order], label_ts[self.order]
        self._first, self._last = (int(self.ts.min()), int(self.ts.max())) if len(key) else (0, 0)
        span = self._last - self._first + 2  # one more than the times: room for "after the last label"
        num_keys = int(self.key[-1]) + 1 if len(key) else 0
        # Key and time in one integer, if both fit; else the time's rank among the labels' times stands for it.
        self._times = None if num_keys.bit_length() + span.bit_length() <= MAX_BITS else np.unique(self.ts)
        self._span = span if self._times is None else len(self._times) + 1
        self._places = self.key * self._span + self._moment(self.ts)
        self._shift = max(0, (num_keys * self._span).bit_length() - 16)

    def __len__(self) -> int:
        return len(self.key)

    def locate(self, events: Events) -> tuple[Ints, Events]:
        """Returns (found,) slots and the events that have one, in their order."""
        visible = np.maximum(events.event_ts, events.known_ts)
        wanted = events.key * self._span + self._moment(visible)
        # Needles that are nearly sorted find their way in the cache; sorting their upper 16 bits alone is a radix sort.
        order = np.argsort((np.maximum(wanted, 0) >> self._shift).astype(np.uint16), kind="stable")
        slot = np.empty(len(wanted), np.int64)
        slot[order] = np.searchsorted(self._places, wanted[order])
        inside = np.flatnonzero((slot < len(self)) & (events.key >= 0))
        inside = inside[self.key[slot[inside]] == events.key[inside]]
        return slot[inside], events.take(inside)

    def _moment(self, ts: Ints) -> Ints:
        """Returns (times,) int64 in [0, span): where a time lies among the labels' times."""
        if self._times is None:
            return np.clip(ts, self._first, self._last + 1) - self._first
        return np.searchsorted(self._times, ts)


class AsofState:
    """The best event of each slot so far; feed it batches in any order, then ask for the winners.

    Args:
        slots: The labels.
    """

    def __init__(self, slots: LabelSlots) -> None:
        self._slots = slots
        self._event = np.full(len(slots), INT64_MIN)  # (labels,) best event_ts of the slot
        self._known = np.full(len(slots), INT64_MIN)
        self._row = np.full(len(slots), NOTHING)

    def add(self, events: Events) -> None:
        """Puts a batch of events into their slots."""
        self.keep(*self._slots.locate(events))

    def keep(self, slot: Ints, events: Events) -> None:
        """Keeps the larger of each slot's best and the located events: by event time, known time, then row."""
        tied = _raise(self._event, slot, events.event_ts, (self._known, INT64_MIN), (self._row, NOTHING))
        slot, events = slot[tied], events.take(tied)
        tied = _raise(self._known, slot, events.known_ts, (self._row, NOTHING))
        np.maximum.at(self._row, slot[tied], events.row[tied])

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


def _raise(best: Ints, slot: Ints, value: Ints, *lower: tuple[Ints, int]) -> npt.NDArray[np.intp]:
    """Raises ``best`` to the values at their slots and returns the positions of the values that are the best now.

    Args:
        best: (slots,) changed in place.
        slot: (values,) slot of each value.
        value: (values,) candidates.
        lower: Arrays of less significant parts, reset to the given value where ``best`` was raised.
    """
    before = best[slot]
    np.maximum.at(best, slot, value)
    now = best[slot]
    raised = slot[now > before]
    for array, start in lower:
        array[raised] = start
    return np.flatnonzero(value == now)
