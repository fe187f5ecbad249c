"""Ranges of sorted rows: which rows a window holds, extremes over ranges, ranges as flat lists of rows."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

__all__ = ["SortedRows", "pieces", "range_extreme", "spread"]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
MAX_BITS = 62


class SortedRows:
    """Events sorted by key, event time, known time.

    Args:
        key: (rows,) int64 codes, ascending.
        event: (rows,) int64, microseconds UTC.
        known: (rows,) int64, microseconds UTC.
    """

    def __init__(self, key: Ints, event: Ints, known: Ints) -> None:
        self.key, self.event, self.known = key, event, known
        self._earliest, self._latest = (int(event.min()), int(event.max())) if len(key) else (0, 0)
        span = self._latest - self._earliest + 2  # one more than the times: room for "behind the last"
        num_keys = int(key[-1]) + 1 if len(key) else 0
        # Key and time in one integer, if both fit; else the time's rank stands for it.
        self._times = None if num_keys.bit_length() + span.bit_length() <= MAX_BITS else np.unique(event)
        self._span = span if self._times is None else len(self._times) + 1
        self._places = key * self._span + self._moment(event)

    def __len__(self) -> int:
        return len(self.key)

    def first_from(self, key: Ints, at: Ints) -> Ints:
        """Returns (points,) the first row of each key, or behind it, whose event time is ``at`` or later."""
        return np.searchsorted(self._places, key * self._span + self._moment(at))

    def _moment(self, at: Ints) -> Ints:
        """Returns (points,) int64 in [0, span): where a time lies among the events' times."""
        if self._times is not None:
            return np.searchsorted(self._times, at)
        return np.clip(at, self._earliest, self._latest + 1) - self._earliest

    def are_in_order(self, lo: Ints, hi: Ints) -> Bools:
        """Returns (ranges,) whether the rows of a range became known in the order of their events."""
        drops = np.concatenate(([0], np.cumsum(self.known[1:] < self.known[:-1]), [0]))  # drops[i]: up to row i
        return np.asarray(drops[np.maximum(hi - 1, lo)] == drops[lo])

    def known_by(self, lo: Ints, hi: Ints, until: Ints) -> Ints:
        """Returns (ranges,) where in each range, in order, the first row lies that is known later than ``until``."""
        low, high = lo.copy(), hi.copy()
        while (open_ := low < high).any():
            middle = (low + high) // 2
            known = open_ & (self.known[np.minimum(middle, len(self) - 1)] <= until)
            low = np.where(known, middle + 1, low)
            high = np.where(open_ & ~known, middle, high)
        return low


def range_extreme(values: npt.NDArray[np.generic], lo: Ints, hi: Ints, *, largest: bool) -> npt.NDArray[np.generic]:
    """Returns (ranges,) the largest or smallest value of the rows ``lo`` to ``hi``; of an empty range any value.

    Ranges of 2**k to 2**(k+1) rows are two overlapping blocks of 2**k, whose extremes are made block by block.
    """
    better = np.maximum if largest else np.minimum
    result = np.zeros(len(lo), values.dtype)
    length = hi - lo
    level = np.frexp(np.maximum(length, 1).astype(np.float64))[1] - 1
    block = values
    for k in range(int(level.max(initial=-1)) + 1):
        here = np.flatnonzero((level == k) & (length > 0))
        result[here] = better(block[lo[here]], block[hi[here] - (1 << k)])
        block = better(block[: -(1 << k)], block[1 << k :]) if len(block) > (1 << k) else block
    return result


def spread(lo: Ints, hi: Ints) -> tuple[Ints, Ints]:
    """Returns the rows of all ranges one after the other: (rows,) number of the range, (rows,) row.

    Example:
        >>> [part.tolist() for part in spread(np.array([0, 5]), np.array([2, 6]))]
        [[0, 0, 1], [0, 1, 5]]
    """
    count = hi - lo
    owner = np.repeat(np.arange(len(lo)), count)
    start = np.cumsum(count) - count
    return owner, np.arange(len(owner)) - np.repeat(start - lo, count)


def pieces(size: Ints, limit: int) -> Iterator[slice]:
    """Yields slices of things whose sizes add up to about ``limit``, at least one thing each."""
    total = np.cumsum(size)
    begin = 0
    while begin < len(size):
        before = int(total[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(total, before + limit, side="right")))
        yield slice(begin, end)
        begin = end
