import numpy as np
import pytest

from mosaic_assets.models.gates import ValidationThreshold as Demand
from mosaic_assets.models.gates import Verdict, judge, judge_change
from mosaic_assets.models.scores import calibration_table, scores, scores_by_slice
from mosaic_resources.errors import UserError


@pytest.mark.parametrize(
    ("demand", "value", "passed"),
    [
        (Demand(threshold=0.76), 0.76, True),
        (Demand(threshold=0.76), 0.7599, False),
        (Demand(threshold=0.76), None, False),
        (Demand(threshold=0.76), float("nan"), False),
        (Demand(threshold=0.5, greater_is_better=False), 0.5, True),
        (Demand(threshold=0.5, greater_is_better=False), 0.51, False),
        # A missing loss is not a loss of 0.0, which would pass.
        (Demand(threshold=0.5, greater_is_better=False), None, False),
    ],
)
def test_threshold(demand: Demand, value: float | None, passed: bool) -> None:
    verdict = judge({"metric": demand}, {} if value is None else {"metric": value})
    assert verdict.passed is passed
    assert len(verdict.reasons) == 1
    assert "metric" in str(verdict)


@pytest.mark.parametrize(
    ("demand", "candidate", "baseline", "passed"),
    [
        (Demand(min_absolute_change=0.01), 0.81, 0.80, True),
        (Demand(min_absolute_change=0.01), 0.805, 0.80, False),
        (Demand(min_absolute_change=-0.01), 0.795, 0.80, True),
        (Demand(min_relative_change=0.1), 0.88, 0.8, True),
        (Demand(min_relative_change=0.1), 0.87, 0.8, False),
        (Demand(min_absolute_change=0.1, greater_is_better=False), 0.4, 0.5, True),
        (Demand(min_absolute_change=0.1, greater_is_better=False), 0.45, 0.5, False),
        (Demand(min_relative_change=0.1, greater_is_better=False), 0.45, 0.5, True),
        (Demand(min_relative_change=0.1, greater_is_better=False), 0.46, 0.5, False),
        (Demand(min_relative_change=0.1), 0.5, 0.0, False),
        (Demand(min_absolute_change=0.1), 0.5, None, False),
        (Demand(min_absolute_change=0.1), None, 0.5, False),
    ],
)
def test_change(demand: Demand, candidate: float | None, baseline: float | None, passed: bool) -> None:
    verdict = judge_change({"metric": demand}, {"metric": candidate}, {"metric": baseline})
    assert verdict.passed is passed


def test_both_changes_are_judged() -> None:
    verdict = judge_change({"m": Demand(min_absolute_change=0.1, min_relative_change=0.5)}, {"m": 0.7}, {"m": 0.5})
    assert [reason.passed for reason in verdict.reasons] == [True, False]
    assert not verdict.passed


def test_no_demand_is_no_pass() -> None:
    assert not Verdict(()).passed
    assert not judge({"m": Demand(min_absolute_change=1.0)}, {"m": 5.0}).passed
    with pytest.raises(UserError, match="demands nothing"):
        Demand()


def test_scores_of_a_known_case() -> None:
    found = scores(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
    assert found["roc_auc"] == 0.75
    assert found["brier_score"] == pytest.approx(np.mean([0.01, 0.16, 0.4225, 0.04]))
    assert found["num_rows"] == 4


def test_scores_of_one_class_have_no_auc() -> None:
    found = scores(np.zeros(3), np.array([0.0, 0.5, 1.0]))
    assert "roc_auc" not in found
    assert np.isfinite(found["log_loss"])


@pytest.mark.parametrize("probability", [[], [0.5, float("nan")]])
def test_scores_refuse(probability: list) -> None:
    with pytest.raises(UserError, match="at least one row, and a finite probability"):
        scores(np.zeros(len(probability)), np.array(probability))


def test_calibration_table_holds_every_row_once() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random(1003)
    label = (rng.random(1003) < probability).astype(float)
    table = calibration_table(label, probability)
    assert sum(row["num_rows"] for row in table) == 1003
    assert [row["mean_probability"] for row in table] == sorted(row["mean_probability"] for row in table)
    assert all(abs(row["mean_probability"] - row["positive_share"]) < 0.15 for row in table)
    assert len(calibration_table(label[:3], probability[:3])) == 3


def test_slices_below_the_smallest_are_left_out() -> None:
    label, probability = np.tile([0.0, 1.0], 100), np.linspace(0, 1, 200)
    found = scores_by_slice(label, probability, ["a"] * 150 + ["b"] * 50)
    assert list(found) == ["a"]
    assert found["a"]["num_rows"] == 150
