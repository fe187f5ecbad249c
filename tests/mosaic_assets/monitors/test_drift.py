"""Distances against oracles over plain values, and the invariants that make them distances."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from scipy.spatial.distance import jensenshannon

from mosaic_assets.monitors import drift
from mosaic_assets.monitors.drift import binned, quantile_edges

counts = st.integers(1, 8).flatmap(lambda n: st.tuples(*[arrays(np.float64, n, elements=st.integers(0, 50))] * 2))
values = arrays(np.float64, st.integers(1, 60), elements=st.integers(-5, 5))
BOUNDED = (drift.ks_distance, drift.tv_distance, drift.js_distance)
ALL = (*BOUNDED, drift.population_stability_index, drift.chi_squared_statistic)


@given(counts)
def test_every_distance_is_symmetric_zero_on_equal_and_never_negative(pair):
    p, q = pair
    for distance in ALL:
        value = distance(p, q)
        assert (value is None) == (p.sum() == 0 or q.sum() == 0)
        if value is not None:
            assert value >= 0
            assert value == pytest.approx(distance(q, p), abs=1e-9)
            assert distance(p, p) == pytest.approx(0, abs=1e-7)


@given(counts, st.integers(2, 9))
def test_bounded_distances_do_not_depend_on_the_number_of_rows(pair, times):
    p, q = pair
    for distance in (*BOUNDED, drift.population_stability_index):
        value = distance(p, q)
        if value is not None:
            assert distance(p * times, q) == pytest.approx(value, abs=1e-9)
            if distance in BOUNDED:
                assert value <= 1


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")  # SciPy's p-value, which is not looked at.
@given(values, values, st.integers(2, 12))
def test_binned_ks_never_exceeds_the_exact_one_and_is_within_the_largest_bin(a, b, num_bins):
    edges = quantile_edges(a, num_bins)
    p, q = binned(a, edges), binned(b, edges)
    exact = stats.ks_2samp(a, b, method="asymp").statistic
    largest = max((p / p.sum()).max(), (q / q.sum()).max())
    assert exact - largest - 1e-9 <= drift.ks_distance(p, q) <= exact + 1e-9


@given(values, st.integers(2, 12))
def test_binned_equals_a_count_by_hand(a, num_bins):
    edges = quantile_edges(a, num_bins)
    assert (np.diff(edges) > 0).all()
    bounds = [-np.inf, *edges, np.inf]
    by_hand = [sum(low < v <= high for v in a) for low, high in pairwise(bounds)]
    assert binned(a, edges).tolist() == by_hand


def test_below_the_smallest_value_is_a_bin_of_its_own_where_that_value_is_common():
    edges = quantile_edges(np.zeros(100), 10)
    assert binned(np.array([-1.0, 0.0, 1.0]), edges).tolist() == [1, 1, 1]


def test_js_and_chi_squared_equal_scipy():
    p, q = np.array([10.0, 0, 30, 5, 0]), np.array([1.0, 7, 20, 9, 0])
    assert drift.js_distance(p, q) == pytest.approx(jensenshannon(p, q, base=2))
    expected = stats.chi2_contingency(np.stack([p, q])[:, :4], correction=False).statistic
    assert drift.chi_squared_statistic(p, q) == pytest.approx(expected)


@pytest.mark.parametrize("shift", [0.0, 0.1, 1.0, 3.0])
def test_wasserstein_of_fine_bins_equals_that_of_values_clipped_to_the_edges(shift):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=20_000), rng.normal(shift, 1.2, 20_000)
    edges = quantile_edges(a, 200)
    exact = stats.wasserstein_distance(*(np.clip(side, edges[0], edges[-1]) for side in (a, b)))
    ours = drift.wasserstein_distance(binned(a, edges), binned(b, edges), edges)
    assert ours == pytest.approx(exact, rel=0.02, abs=0.005)


@settings(max_examples=30)
@given(st.floats(0, 3), st.floats(0, 3))
def test_psi_grows_with_the_shift(one, other):
    x = np.random.default_rng(1).normal(size=5_000)
    edges = quantile_edges(x, 10)
    near, far = sorted((one, other))
    low, high = (drift.population_stability_index(binned(x, edges), binned(x + shift, edges)) for shift in (near, far))
    assert low <= high + 1e-9


def test_psi_of_an_empty_bin_is_finite():
    assert np.isfinite(drift.population_stability_index(np.array([1.0, 0.0]), np.array([0.0, 1.0])))
