"""Sums of float64 over ranges of rows, exact before one rounding: the same bits whatever was summed before.

A float64 is a whole number times a power of two. All values of a batch, in units of the smallest such power, are
whole numbers of some limbs of 30 bits. Running totals of limbs never round, so the sum of a range is a difference
of two of them, and is rounded once, to nearest, ties to even.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["DoubleDouble", "ExactSums"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
LIMB = 30  # bits
MASK = (1 << LIMB) - 1
MANTISSA = 53
MAX_BITS = 62
# A value's whole number, moved within a limb, reaches into so many; the highest of all may grow by 2**31 rows.
REACH = 3


@dataclass(frozen=True)
class DoubleDouble:
    """A sum as the nearest float64 and the nearest float64 of what is left.

    Args:
        high: (ranges,)
        low: (ranges,)
    """

    high: Floats
    low: Floats


class ExactSums:
    """Running totals over rows; a row's value is the sum of its terms.

    Args:
        terms: Each (rows,) finite float64.
    """

    def __init__(self, terms: Sequence[Floats]) -> None:
        split = [_whole(term) for term in terms]
        used = [power[whole != 0] for whole, power in split]
        self._unit = min((int(power.min()) for power in used if len(power)), default=0)
        highest = max((int(power.max()) for power in used if len(power)), default=0)
        num_rows = len(terms[0])
        bits = MANTISSA + highest - self._unit + (len(terms) * num_rows).bit_length()
        self._single = bits <= MAX_BITS or self._fits(split)
        totals = (
            [sum((whole << np.where(whole, power - self._unit, 0) for whole, power in split), np.zeros(num_rows, int))]
            if self._single
            else _limbs(split, self._unit, (highest - self._unit) // LIMB + REACH)
        )
        # (limbs, rows + 1) int64
        self._totals = np.stack([np.concatenate(([0], np.cumsum(limb))) for limb in totals])

    def high(self, lo: Ints, hi: Ints) -> Floats:
        """Returns (ranges,) the nearest float64 to the sum over rows ``lo`` to ``hi``, the end not included."""
        return self._round(self._between(lo, hi))

    def double(self, lo: Ints, hi: Ints) -> DoubleDouble:
        """Returns the sums with twice the digits."""
        limbs = self._between(lo, hi)
        high = self._round(limbs)
        whole, power = _whole(high)
        if not self._single:
            return DoubleDouble(high, self._round(limbs - np.stack(_limbs([(whole, power)], self._unit, len(limbs)))))
        return DoubleDouble(high, self._round(limbs - (whole << np.where(whole, power - self._unit, 0))))

    def _between(self, lo: Ints, hi: Ints) -> Ints:
        return np.asarray(self._totals[:, hi] - self._totals[:, lo])

    def _fits(self, split: Sequence[tuple[Ints, Ints]]) -> bool:
        """Returns whether all totals stay below 2**62 as one number."""
        with np.errstate(over="ignore"):
            largest = sum(
                float(np.ldexp(np.abs(whole).astype(np.float64), np.where(whole, power - self._unit, 0)).sum())
                for whole, power in split
            )
        return largest < 2.0**61

    def _round(self, limbs: Ints) -> Floats:
        if self._single:
            return np.asarray(np.ldexp(limbs[0].astype(np.float64), self._unit))
        return _rounded(limbs, self._unit)


def _whole(values: Floats) -> tuple[Ints, Ints]:
    """Returns (rows,) odd whole numbers (or 0) and powers of two whose products are the values."""
    fraction, exponent = np.frexp(values)
    whole = np.ldexp(fraction, MANTISSA).astype(np.int64)
    lowest = (whole & -whole).astype(np.float64)
    zeros = np.where(whole != 0, np.frexp(lowest)[1] - 1, 0)
    return whole >> zeros, exponent.astype(np.int64) - MANTISSA + zeros


def _limbs(split: Sequence[tuple[Ints, Ints]], unit: int, num_limbs: int) -> list[Ints]:
    """Returns (limbs) of (rows,) int64, lowest first; the highest takes what lies above it too."""
    limbs = np.zeros((num_limbs, len(split[0][0])), np.int64)
    row = np.arange(limbs.shape[1])
    for whole, power in split:
        sign, size = np.sign(whole), np.abs(whole)
        shift = np.where(whole != 0, power - unit, 0)
        first, inside = shift // LIMB, shift % LIMB
        for step, part in enumerate((size & MASK, size >> LIMB)):
            moved = part << inside  # under 60 bits
            for above, piece in enumerate((moved & MASK, moved >> LIMB)):
                limb = first + step + above
                over = np.maximum(limb - num_limbs + 1, 0)
                limbs[limb - over, row] += (piece << np.minimum(over * LIMB, 63)) * sign
    return list(limbs)


def _carried(limbs: Ints) -> Ints:
    """Returns the limbs with all but the highest in [0, 2**30)."""
    carried = limbs.copy()
    for i in range(len(carried) - 1):
        carried[i + 1] += carried[i] >> LIMB
        carried[i] &= MASK
    return carried


def _rounded(limbs: Ints, unit: int) -> Floats:
    digits = _carried(limbs)
    negative = digits[-1] < 0
    if negative.any():
        digits = _carried(np.where(negative, -limbs, limbs))
    if (digits[-1] >> LIMB).any():
        digits = _carried(np.concatenate((digits, np.zeros((1, digits.shape[1]), np.int64))))
    # The three highest limbs as 60 bits and 31, the last of which stands for all below.
    if len(digits) == REACH:
        top: Ints | int = REACH - 1
        upper, lower = (digits[2] << LIMB) | digits[1], digits[0] << 1
    else:
        top = np.maximum(len(digits) - 1 - np.argmax(digits[::-1] != 0, axis=0), REACH - 1)
        at = np.arange(digits.shape[1])
        below = np.cumsum(digits != 0, axis=0)  # (limbs, ranges) how many limbs up to here are not 0
        rest = (top >= REACH) & (below[np.maximum(top - REACH, 0), at] > 0)
        upper = (digits[top, at] << LIMB) | digits[top - 1, at]
        lower = (digits[top - 2, at] << 1) | rest
    length = np.frexp(upper.astype(np.float64))[1].astype(np.int64)
    shift = np.clip(61 - length, 0, 31)
    left = 31 - shift
    kept = (upper << shift) | (lower >> left) | ((lower & ((1 << left) - 1)) != 0)
    size = np.ldexp(kept.astype(np.float64), unit + (top - 2) * LIMB - 1 + left)  # int64 to float64 rounds to even
    return np.where(negative, -size, size)
