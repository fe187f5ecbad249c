"""Sums are exact before one rounding, and infinities are what they are in arithmetic."""

import math
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mosaic_assets.features.windows.exact_sums import ExactSums
from mosaic_assets.features.windows.functions import Values, aggregate

NUMBERS = st.one_of(
    st.floats(-1e300, 1e300),
    st.integers(-(2**53), 2**53).map(float),
    st.sampled_from([5e-324, -5e-324, 2.0**-1022, 1e16, -1e16, 2.0**-53, 2.0**-54, 2.0**-106, 2.0**60, 2.0**113, 1.0]),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=12), st.integers(0, 12), st.integers(0, 12))
def test_a_sum_is_the_nearest_number_and_so_is_what_is_left(rows, one, other):
    lo, hi = sorted(min(end, len(rows)) for end in (one, other))
    terms = [np.array(term) for term in zip(*rows, strict=True)]
    exact = sum((Fraction(x) for row in rows[lo:hi] for x in row), Fraction(0))
    got = ExactSums(terms).double(np.array([lo]), np.array([hi]))
    assert got.high.tolist() == [float(exact)]
    assert got.low.tolist() == [float(exact - Fraction(float(exact)))]


def over(function, *values):
    column = Values(np.array(values), ~np.isnan(values), np.arange(len(values)))
    (value,), (valid,) = aggregate(function, column, np.array([0]), np.array([len(values)]))
    return float(value) if valid else None


def test_infinities_reach_what_they_are_in():
    inf = math.inf
    assert [over("sum", 1.0, x) for x in (inf, -inf)] == [inf, -inf]
    assert math.isnan(over("sum", inf, -inf))
    assert (over("mean", inf, 1.0), over("max", inf, 1.0), over("last", 1.0, inf)) == (inf, inf, inf)
    assert math.isnan(over("stddev", inf, 1.0))
    assert math.isnan(over("stddev", 1e300, 1.0))


def test_equal_values_do_not_deviate():
    for value in (0.1, 1e-9, 12345.678, 1e100):
        assert over("stddev", *[value] * 7) == 0.0
    assert over("stddev", 1e9, 1e9 + 1e-4) > 0
