"""The functions of a window: each over ranges of rows, whatever the rows before and behind them are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mosaic_assets.features.windows.exact_sums import DoubleDouble, ExactSums
from mosaic_assets.features.windows.ranges import Ints, pieces, range_extreme, spread

__all__ = ["Values", "aggregate"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
PAIRS_PER_PIECE = 1 << 23
SPLITTER = 134217729.0  # 2**27 + 1, halves a float64 (Dekker 1971)
LARGEST_SQUARED = 2.0**500
NO_VARIANCE = 2.0**-98  # share of the square of the sum below which the digits of a double-double end


@dataclass(frozen=True)
class Values:
    """A column of sorted rows.

    Args:
        values: (rows,) float64 or int64.
        valid: (rows,) False for NULL and NaN.
        moment: (rows,) int64, the same for rows of one key with equal event and known time; ascending.
    """

    values: npt.NDArray[Any]
    valid: Bools
    moment: Ints

    def take(self, rows: Ints) -> "Values":
        """Returns some rows."""
        return Values(self.values[rows], self.valid[rows], self.moment[rows])

    @cached_property
    def before(self) -> Ints:
        """(rows + 1,) how many valid rows come before each."""
        return np.concatenate(([0], np.cumsum(self.valid)))

    @cached_property
    def there(self) -> "Values":
        """The valid rows."""
        return self if self.valid.all() else self.take(np.flatnonzero(self.valid))

    @cached_property
    def sums(self) -> ExactSums:
        """Running totals of the finite values."""
        return ExactSums([np.where(np.isinf(self.values), 0.0, self.values)])

    @cached_property
    def squares(self) -> tuple[ExactSums, ExactSums]:
        """Running totals of the values that may be squared, and of their squares."""
        values = np.where(self.is_huge, 0.0, self.values)
        return ExactSums([values]), ExactSums(_product(values, values))

    @cached_property
    def is_huge(self) -> Bools:
        """(rows,) whether a square may leave the range of a float64."""
        return np.asarray(np.abs(self.values) > LARGEST_SQUARED)


def aggregate(function: str, column: Values, lo: Ints, hi: Ints) -> tuple[npt.NDArray[Any], Bools]:
    """Returns (ranges,) values and whether there is one, of a function over the rows ``lo`` to ``hi`` of each range.

    NULL and NaN count for nothing. ``stddev`` is that of a sample; ``last`` is the value of the latest event, of
    equal ones that known latest, of equal ones the largest.
    """
    lo, hi, there = column.before[lo], column.before[hi], column.there
    if function == "count":
        return hi - lo, np.ones(len(lo), bool)
    if function == "count_distinct":
        return _count_distinct(there.values, lo, hi), np.ones(len(lo), bool)
    return _FUNCTIONS[function](there, lo, hi), hi - lo >= (2 if function == "stddev" else 1)


def _sum(column: Values, lo: Ints, hi: Ints) -> Floats:
    total = column.sums.high(lo, hi)
    if np.isinf(column.values).any():
        up, down = (np.concatenate(([0], np.cumsum(column.values == end))) for end in (np.inf, -np.inf))
        total = np.where(up[hi] > up[lo], np.inf, total)
        total = np.where(down[hi] > down[lo], np.where(total == np.inf, np.nan, -np.inf), total)
    return total


def _mean(column: Values, lo: Ints, hi: Ints) -> Floats:
    return np.asarray(_sum(column, lo, hi) / np.maximum(hi - lo, 1))


def _stddev(column: Values, lo: Ints, hi: Ints) -> Floats:
    """Returns (ranges,) the root of (n Σx² - (Σx)²) / (n (n - 1)), its difference taken with twice the digits.

    A deviation below some 2e-15 of the mean is 0.
    """
    total, squares = (sums.double(lo, hi) for sums in column.squares)
    num = (hi - lo).astype(np.float64)
    scaled, own = _times(squares, num), _squared(total)
    difference = (scaled.high - own.high) + (scaled.low - own.low)
    difference = np.where(difference > NO_VARIANCE * own.high, difference, 0.0)
    result = np.sqrt(difference / np.maximum(num * (num - 1), 1))
    past = np.concatenate(([0], np.cumsum(column.is_huge)))
    return np.where(past[hi] > past[lo], np.nan, result)


def _extreme(largest: bool) -> Callable[[Values, Ints, Ints], npt.NDArray[Any]]:
    return lambda column, lo, hi: range_extreme(column.values, lo, hi, largest=largest)


def _last(column: Values, lo: Ints, hi: Ints) -> npt.NDArray[Any]:
    if not len(column.values):
        return np.zeros(len(lo), column.values.dtype)
    # A window holds all rows of a moment or none, so its last moment's largest value is what is asked for.
    first = np.flatnonzero(np.r_[True, np.diff(column.moment) != 0])
    largest = np.maximum.reduceat(column.values, first)
    run = np.cumsum(np.r_[False, np.diff(column.moment) != 0])
    return np.asarray(largest[run[np.maximum(hi - 1, 0)]])


def _count_distinct(values: npt.NDArray[Any], lo: Ints, hi: Ints) -> Ints:
    order = np.argsort(values, kind="stable")
    same = np.r_[False, values[order][1:] == values[order][:-1]][: len(values)]
    earlier = np.full(len(values), -1)  # (rows,) the row before with the same value
    earlier[order[same]] = order[np.flatnonzero(same) - 1]
    result = np.zeros(len(lo), np.int64)
    for piece in pieces(hi - lo, PAIRS_PER_PIECE):
        owner, row = spread(lo[piece], hi[piece])
        new = earlier[row] < lo[piece][owner]
        result[piece] = np.bincount(owner[new], minlength=len(lo[piece]))
    return result


_FUNCTIONS: Mapping[str, Callable[[Values, Ints, Ints], npt.NDArray[Any]]] = {
    "sum": _sum, "mean": _mean, "stddev": _stddev, "min": _extreme(False), "max": _extreme(True), "last": _last,
}  # fmt: skip


def _product(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Returns the nearest float64 to each product, and what is left, exactly."""
    product = a * b
    a_high, b_high = (SPLITTER * x - (SPLITTER * x - x) for x in (a, b))
    a_low, b_low = a - a_high, b - b_high
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def _times(number: DoubleDouble, factor: Floats) -> DoubleDouble:
    high, error = _product(number.high, factor)
    return _normal(high, error + number.low * factor)


def _squared(number: DoubleDouble) -> DoubleDouble:
    high, error = _product(number.high, number.high)
    return _normal(high, error + 2.0 * number.high * number.low)


def _normal(high: Floats, low: Floats) -> DoubleDouble:
    total = high + low
    return DoubleDouble(total, low - (total - high))
