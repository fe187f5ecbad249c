"""AUC and the interval of its difference, against scikit-learn, pairs counted by hand, and repeated draws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from mosaic_assets.monitors.ranking import auc_difference, roc_auc
from mosaic_resources.errors import InternalError

rows = st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 4)), max_size=40)


def by_hand(labels, scores):
    pairs = [(p > n) + (p == n) / 2 for p in scores[labels] for n in scores[~labels]]
    return float(np.mean(pairs)) if pairs else None


@given(rows)
def test_auc_equals_the_pairs_counted_by_hand(found):
    labels = np.array([row[0] for row in found], bool)
    scores = np.array([row[1] for row in found], float)
    assert roc_auc(labels, scores) == pytest.approx(by_hand(labels, scores))


def test_auc_equals_scikit_learn():
    rng = np.random.default_rng(0)
    labels, scores = rng.random(5_000) < 0.2, rng.normal(size=5_000).round(2)
    assert roc_auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))


def delong_by_hand(labels, scores_a, scores_b):
    """DeLong's formula with the full matrix of pairs."""
    psi = [(s[labels][:, None] > s[~labels]) + (s[labels][:, None] == s[~labels]) / 2 for s in (scores_a, scores_b)]
    difference = psi[1] - psi[0]
    return difference.mean(axis=1).var(ddof=1) / labels.sum() + difference.mean(axis=0).var(ddof=1) / (~labels).sum()


@given(rows)
def test_standard_error_without_groups_is_delongs(found):
    labels = np.array([row[0] for row in found], bool)
    if min(labels.sum(), (~labels).sum()) < 2:
        return
    a, b = (np.array([row[at] for row in found], float) for at in (1, 2))
    found = auc_difference(labels, a, b)
    assert found.standard_error**2 == pytest.approx(delong_by_hand(labels, a, b), abs=1e-12)
    assert found.difference == pytest.approx(by_hand(labels, b) - by_hand(labels, a))
    assert auc_difference(labels, a, a).standard_error == 0


def draw(rng, num_days=40, rows_per_day=50):
    """Two models of equal worth; a day's rows share what each model gets wrong."""
    day = np.repeat(np.arange(num_days), rows_per_day)
    truth = rng.normal(size=len(day)) + rng.normal(size=num_days)[day]
    labels = truth + rng.normal(size=len(day)) > 1.5
    a, b = (truth + 0.8 * rng.normal(size=num_days)[day] + 0.5 * rng.normal(size=len(day)) for _ in range(2))
    return labels, a, b, day


def test_interval_over_days_holds_the_truth_about_as_often_as_it_says_and_rowwise_does_not():
    rng, days, rowwise = np.random.default_rng(3), 0, 0
    for _ in range(200):
        labels, a, b, day = draw(rng)
        by_day, by_row = auc_difference(labels, a, b, day), auc_difference(labels, a, b)
        days += by_day.low <= 0 <= by_day.high
        rowwise += by_row.low <= 0 <= by_row.high
    assert 0.90 <= days / 200 <= 0.99
    assert rowwise / 200 < 0.75


def test_one_class_or_one_group_has_no_difference():
    x = np.arange(4.0)
    assert auc_difference(np.ones(4, bool), x, x) is None
    assert auc_difference(np.array([True, False, True, False]), x, x, np.zeros(4)) is None
    assert auc_difference(np.zeros(0, bool), x[:0], x[:0]) is None
    with pytest.raises(InternalError, match="different rows"):
        auc_difference(np.ones(4, bool), x, x[:2])
