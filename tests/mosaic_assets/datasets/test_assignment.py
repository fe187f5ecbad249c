"""Parts of rows by the hash of their keys: disjoint, exhaustive, the same in every order of the rows."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mosaic_assets.datasets.assignment import first_by_hash, grouped_parts, random_parts, stratified_parts

HASH = st.integers(-(2**63), 2**63 - 1)
HASHES = st.lists(HASH, min_size=1, max_size=200, unique=True).map(lambda drawn: np.array(drawn, np.int64))
SHARES = st.lists(st.integers(1, 20), min_size=2, max_size=6).map(lambda drawn: np.array(drawn) / sum(drawn))


def few(size, seed):
    """Returns (size,) int64 hashes with few different values of uneven frequency."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-(2**63), 2**63 - 1, 5)
    return values[np.minimum(rng.geometric(0.4, size) - 1, 4)]


@given(HASHES, SHARES, st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_every_row_is_in_one_part_whatever_the_order_of_the_rows(hashes, shares, seed):
    order = np.random.default_rng(seed).permutation(len(hashes))
    groups = few(len(hashes), seed)
    for parts, shuffled in (
        (random_parts(hashes, shares), random_parts(hashes[order], shares)),
        (stratified_parts(hashes, groups, shares), stratified_parts(hashes[order], groups[order], shares)),
        (grouped_parts(groups, shares), grouped_parts(groups[order], shares)),
    ):
        assert parts.shape == hashes.shape
        assert set(parts.tolist()) <= set(range(len(shares)))
        assert (parts[order] == shuffled).all()


@given(HASHES, SHARES, st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_each_stratum_keeps_its_shares_to_within_one_row(hashes, shares, seed):
    strata = few(len(hashes), seed)
    parts = stratified_parts(hashes, strata, shares)
    for stratum in np.unique(strata):
        inside = parts[strata == stratum]
        for part, share in enumerate(shares):
            assert abs((inside == part).sum() - share * len(inside)) < 1 + 1e-9


@given(st.integers(1, 300), SHARES, st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_a_group_is_never_divided_and_no_part_exceeds_its_share_by_more_than_one_group(size, shares, seed):
    groups = np.random.default_rng(seed).integers(0, 30, size)
    parts = grouped_parts(groups, shares)
    assert all(len(set(parts[groups == group].tolist())) == 1 for group in np.unique(groups))
    largest = max(Counter(groups.tolist()).values())
    for part, share in enumerate(shares):
        assert (parts == part).sum() <= share * size + largest


def test_a_row_keeps_its_random_part_when_rows_are_added_and_shares_come_out():
    hashes = np.random.default_rng(1).integers(-(2**63), 2**63 - 1, 200_000)
    parts = random_parts(hashes, (0.7, 0.2, 0.1))
    assert (random_parts(hashes[:1000], (0.7, 0.2, 0.1)) == parts[:1000]).all()
    assert np.bincount(parts) / len(parts) == pytest.approx([0.7, 0.2, 0.1], abs=0.005)


def test_small_strata_are_held_out_as_often_as_large_ones():
    rng = np.random.default_rng(2)
    hashes, strata = (rng.integers(-(2**63), 2**63 - 1, 20_000) for _ in range(2))  # each row a stratum of its own
    assert (stratified_parts(hashes, strata, (0.8, 0.2)) == 1).mean() == pytest.approx(0.2, abs=0.01)


@given(HASHES, st.integers(0, 250), st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_a_draw_has_the_rows_asked_for_in_every_order_and_the_shares_of_its_strata(hashes, wanted, seed):
    order = np.random.default_rng(seed).permutation(len(hashes))
    strata = few(len(hashes), seed)
    size = min(wanted, len(hashes))
    for drawn, shuffled in (
        (first_by_hash(hashes, wanted), first_by_hash(hashes[order], wanted)),
        (first_by_hash(hashes, wanted, strata), first_by_hash(hashes[order], wanted, strata[order])),
    ):
        assert drawn.sum() == size
        assert (drawn[order] == shuffled).all()
    drawn = first_by_hash(hashes, wanted, strata)
    for stratum in np.unique(strata):
        inside = strata == stratum
        assert abs(drawn[inside].sum() - inside.sum() * size / len(hashes)) < 1 + 1e-9


def test_nothing_to_assign_is_nothing():
    empty = np.zeros(0, np.int64)
    assert [len(parts) for parts in (
        random_parts(empty, (0.5, 0.5)), stratified_parts(empty, empty, (0.5, 0.5)), grouped_parts(empty, (0.5, 0.5)),
        first_by_hash(empty, 3, empty),
    )] == [0, 0, 0, 0]  # fmt: skip
