"""Promotion: only on labels that neither model has seen, enough of them, and beyond chance."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from mosaic_assets.models.gates import ValidationThreshold
from mosaic_assets.monitors.promotion import Decision, clean_window, decide
from mosaic_resources.errors import UnknownNameError, UserError

AUGUST, SEPTEMBER = datetime(2013, 8, 1, tzinfo=UTC), datetime(2013, 9, 1, tzinfo=UTC)
GATES = {"roc_auc": ValidationThreshold(threshold=0.6, min_absolute_change=0.001)}


def rows(noise, num_rows=4_000, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=num_rows)
    labels = truth + rng.normal(size=num_rows) > 1
    score = 1 / (1 + np.exp(1.5 - truth - noise * rng.normal(size=num_rows)))
    return labels, score


def judged(**changes):
    labels, champion = rows(1.5)
    _, challenger = rows(0.5)
    asked = {
        "champion": champion,
        "challenger": challenger,
        "labels": labels,
        "window": (AUGUST, SEPTEMBER),
        "champion_last_label_utc": AUGUST - timedelta(days=31),
        "challenger_last_label_utc": AUGUST,
        "min_labelled_rows": 1_000,
        "gates": GATES,
    } | changes
    scores = [asked.pop(name) for name in ("champion", "challenger", "labels")]
    return decide(*scores, **asked)


def test_better_challenger_is_promoted_with_reasons():
    found = judged()
    assert found.verdict == "promote"
    assert found.reasons[0].startswith("AUC 0.")
    assert found.figures["auc_difference_low"] > 0
    assert found.figures["num_labelled"] == 4_000


def test_worse_and_equal_challengers_are_kept_out():
    labels, champion = rows(0.5)
    _, worse = rows(1.5)
    assert judged(champion=champion, challenger=worse, labels=labels).verdict == "keep"
    equal = judged(champion=champion, challenger=champion, labels=labels)
    assert equal.verdict == "keep"
    assert "may be chance" in equal.reasons[0]


def test_difference_within_chance_is_kept_out_although_the_gate_is_passed():
    labels, champion = rows(1.0, num_rows=1_200, seed=1)
    challenger = champion + 0.02 * np.random.default_rng(5).normal(size=len(champion))
    found = judged(champion=champion, challenger=np.clip(challenger, 0, 1), labels=labels, gates={})
    assert found.verdict == "keep"


def test_too_few_labels_decide_nothing_however_good_the_challenger():
    found = judged(min_labelled_rows=4_001)
    assert found == Decision("not_decided", ("4000 labelled rows, at least 4001 are needed",))
    none = np.zeros(0)
    assert judged(champion=none, challenger=none, labels=np.zeros(0, bool)).verdict == "not_decided"


@pytest.mark.parametrize("who", ["champion", "challenger"])
def test_window_that_reaches_into_training_decides_nothing(who):
    found = judged(**{f"{who}_last_label_utc": AUGUST + timedelta(hours=5)})
    assert found.verdict == "not_decided"
    assert found.reasons == (
        f"the window begins 2013-08-01 00:00, before the last label of the {who} (2013-08-01 05:00)",
    )


def test_clean_window_begins_after_the_last_label_of_any_model():
    late = AUGUST + timedelta(hours=5)
    assert clean_window((AUGUST, SEPTEMBER), AUGUST - timedelta(days=9), late) == (late, SEPTEMBER)
    start, end = clean_window((AUGUST, SEPTEMBER), SEPTEMBER + timedelta(days=9))
    assert start == end


def test_one_class_decides_nothing():
    assert judged(labels=np.zeros(4_000, bool)).verdict == "not_decided"


@pytest.mark.parametrize(
    ("demand", "words"),
    [
        (ValidationThreshold(threshold=0.99), "at least 0.9900 wanted (threshold): failed"),
        (ValidationThreshold(min_absolute_change=0.5), "min_absolute_change 0.5): failed"),
        (ValidationThreshold(min_relative_change=0.9), "min_relative_change 0.9): failed"),
    ],
)
def test_threshold_that_is_missed_is_named(demand, words):
    found = judged(gates={"roc_auc": demand})
    assert found.verdict == "keep"
    assert words in found.reasons[0]


def test_metric_where_smaller_is_better_and_unknown_metric():
    better = ValidationThreshold(min_absolute_change=0.001, greater_is_better=False)
    assert judged(gates={"log_loss": better, "brier_score": better}).verdict == "promote"
    with pytest.raises(UnknownNameError, match=r"metric 'log_los'.*Did you mean 'log_loss'"):
        judged(gates={"log_los": better})


def test_models_that_scored_different_rows_are_refused():
    with pytest.raises(UserError, match=r"3999, 4000 and 4000 rows. Score the same rows with both"):
        judged(champion=rows(1.5)[1][1:])


def test_decision_is_the_same_however_often_it_is_asked():
    assert judged() == judged()
