"""The point-in-time kernel: for each label, the event that was the latest known at the label's time.

An event may be used at time T when ``event_ts <= T`` and ``known_ts <= T`` and ``event_ts >= T - ttl``.
Among those, the one with the largest ``(event_ts, known_ts)`` wins. An event becomes visible at
``v = max(event_ts, known_ts)``, so it can only win for labels at or after ``v``. Hence: sort the labels
alone; put each event into the slot of the first label of its key at or after ``v``; keep the best event
of each slot; carry the best one forward along the slots of a key. Events are never sorted; the state is
O(labels), so events may come batch by batch.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["NOTHING", "AsofState", "Events", "asof"]

NOTHING = -1
INT64_MIN = np.iinfo(np.int64).min
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


class AsofState:
    """The best event of each label slot so far; feed it batches in any order, then ask for the winners.

    Args:
        key: (labels,) int64 codes; negative (a NULL key) never matches.
        label_ts: (labels,) int64, microseconds UTC.
    """

    def __init__(self, key: Ints, label_ts: Ints) -> None:
        self._order = np.lexsort((label_ts, key))  # (labels,) by key, then time
        self._key, self._ts = key[self._order], label_ts[self._order]
        self._times = np.unique(label_ts)  # (times,) ascending
        # Key and rank of the time in one integer: fits int64 where key * microseconds would not.
        self._slots = self._key * (len(self._times) + 1) + np.searchsorted(self._times, self._ts)
        self._event = np.full(len(key), INT64_MIN)  # (labels,) best event_ts of the slot
        self._known = np.full(len(key), INT64_MIN)
        self._row = np.full(len(key), NOTHING)

    def add(self, events: Events) -> None:
        """Puts a batch of events into their slots."""
        visible = np.maximum(events.event_ts, events.known_ts)
        wanted = events.key * (len(self._times) + 1) + np.searchsorted(self._times, visible)
        slot = np.searchsorted(self._slots, wanted)
        inside = np.flatnonzero((slot < len(self._slots)) & (events.key >= 0))
        usable = inside[self._key[slot[inside]] == events.key[inside]]
        self._keep_best(slot[usable], events.event_ts[usable], events.known_ts[usable], events.row[usable])

    def winners(self, ttl_us: int | None = None) -> Ints:
        """Returns (labels,) int64: the winning event's row for each label in input order, ``NOTHING`` without one.

        Args:
            ttl_us: Longest allowed age of the event in microseconds; None: any age.
        """
        # Rank the slots' winners once; a running maximum over (key, rank) then carries the best one forward.
        rank = np.empty(len(self._row), np.int64)
        rank[np.lexsort((self._row, self._known, self._event))] = np.arange(1, len(self._row) + 1)
        rank[self._row == NOTHING] = 0
        dense = np.cumsum(np.r_[0, np.diff(self._key) != 0]) if len(self._key) else self._key
        base = dense * (len(self._row) + 1)
        best = np.maximum.accumulate(base + rank) - base  # (labels,) rank of the winner, 0 without one
        slot_of_rank = np.zeros(len(self._row) + 1, np.int64)
        slot_of_rank[rank] = np.arange(len(rank))
        slot = slot_of_rank[best]
        row = np.where(best > 0, self._row[slot], NOTHING)
        if ttl_us is not None:
            # The winner has the largest event time, so if it has expired, all have.
            row = np.where((best > 0) & (self._event[slot] >= self._ts - ttl_us), row, NOTHING)
        row = np.where(self._key >= 0, row, NOTHING)
        result = np.empty_like(row)
        result[self._order] = row
        return result

    def _keep_best(self, slot: Ints, event: Ints, known: Ints, row: Ints) -> None:
        """Replaces the state of each slot by the batch's best event where that one is larger."""
        order = np.lexsort((row, known, event, slot))
        last = np.flatnonzero(np.r_[np.diff(slot[order]) != 0, True]) if len(order) else order
        pick = order[last]  # (touched slots,) best event of this batch in its slot
        at, e, k, r = slot[pick], event[pick], known[pick], row[pick]
        larger = (e > self._event[at]) | (
            (e == self._event[at]) & ((k > self._known[at]) | ((k == self._known[at]) & (r > self._row[at])))
        )
        at = at[larger]
        self._event[at], self._known[at], self._row[at] = e[larger], k[larger], r[larger]


def asof(key: Ints, label_ts: Ints, events: Events, ttl_us: int | None = None) -> Ints:
    """Returns (labels,) int64: for each label the row of the event that was latest known, or ``NOTHING``.

    Example:
        >>> import numpy as np
        >>> label = np.array([10, 20])
        >>> events = Events(np.array([0, 0]), np.array([5, 8]), np.array([5, 15]), np.array([0, 1]))
        >>> asof(np.array([0, 0]), label, events).tolist()  # the second event is known too late for the first label
        [0, 1]
    """
    state = AsofState(key, label_ts)
    state.add(events)
    return state.winners(ttl_us)
