"""Quality by late labels."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sklearn import metrics

from mosaic_assets.monitors.quality import LABEL, brier_score, join_labels, log_loss, quality_by_window
from mosaic_resources.errors import UnknownNameError, UserError

JULY = datetime(2013, 7, 1, tzinfo=UTC)
UTC_TIME = pa.timestamp("us", tz="UTC")


def story(num_rows=600):
    rng = np.random.default_rng(2)
    at = [JULY + timedelta(hours=2 * n) for n in range(num_rows)]
    score = rng.random(num_rows).astype(np.float32)
    predictions = pa.table(
        {
            "id": np.arange(num_rows),
            "at": pa.array(at, UTC_TIME),
            "score": score,
            "model_version": ["1" if n % 3 else "2" for n in range(num_rows)],
        }
    )
    labels = pa.table(
        {
            "id": np.arange(num_rows),
            "late": pa.array([None if n % 10 == 0 else bool(rng.random() < s) for n, s in enumerate(score)]),
            "known": pa.array([when + timedelta(hours=5) for when in at], UTC_TIME),
        }
    )
    return predictions, labels


def joined(now_utc, **changes):
    predictions, labels = story()
    asked = {"label_col": "late", "known_col": "known", "now_utc": now_utc} | changes
    return join_labels(predictions, labels, ["id"], **asked)


def test_only_labels_known_by_now_are_used():
    now = JULY + timedelta(days=10)
    found = joined(now).sort_by("id")
    for row in found.to_pylist():
        known = row["id"] % 10 != 0 and row["at"] + timedelta(hours=5) <= now
        assert (row[LABEL] is not None) == known
    assert joined(now, known_col=None)[LABEL].null_count == 60


def test_label_that_was_corrected_counts_as_last_known():
    predictions, _ = story(3)
    labels = pa.table(
        {"id": [0, 0, 1, 1], "late": [1, 0, 0, 1], "known": pa.array([JULY, JULY + timedelta(days=2)] * 2, UTC_TIME)}
    )
    keys = {"label_col": "late", "known_col": "known"}
    for days, expected in ((1, [True, False, None]), (3, [False, True, None])):
        found = join_labels(predictions, labels, ["id"], **keys, now_utc=JULY + timedelta(days=days)).sort_by("id")
        assert found[LABEL].to_pylist() == expected


def measured(now_utc, least=50, model_col="model_version"):
    return quality_by_window(
        joined(now_utc), prediction_col="score", timestamp_col="at", model_col=model_col,
        granularity="1 month", min_labelled_rows=least,
    )  # fmt: skip


def test_quality_equals_scikit_learn_by_window_and_version():
    table = joined(JULY + timedelta(days=90)).to_pandas()
    found = measured(JULY + timedelta(days=90))
    assert [(q.start.month, q.model_version) for q in found] == [(7, "1"), (7, "2"), (8, "1"), (8, "2")]
    for quality in found:
        rows = table[(table["at"].dt.month == quality.start.month) & (table.model_version == quality.model_version)]
        held = rows[rows[LABEL].notna()]
        labels, scores = held[LABEL].astype(bool), held.score.astype(float)
        assert (quality.num_predictions, quality.num_labelled) == (len(rows), len(held))
        assert quality.share_labelled == pytest.approx(0.9, abs=0.05)
        assert quality.auc == pytest.approx(metrics.roc_auc_score(labels, scores))
        assert quality.log_loss == pytest.approx(metrics.log_loss(labels, scores), rel=1e-6)
        assert quality.brier == pytest.approx(metrics.brier_score_loss(labels, scores))


def test_windows_that_a_version_was_fitted_on_are_marked_and_have_no_figures():
    august = JULY + timedelta(days=31)
    rows = joined(august + timedelta(days=90))
    asked = {"prediction_col": "score", "timestamp_col": "at", "model_col": "model_version", "min_labelled_rows": 50}
    found = quality_by_window(rows, **asked, granularity="1 month", learnt={"2": august})
    states = {(one.start.month, one.model_version): (one.state, one.auc is None) for one in found}
    assert states == {
        (7, "1"): ("measured", False), (7, "2"): ("in_sample", True),
        (8, "1"): ("measured", False), (8, "2"): ("measured", False),
    }  # fmt: skip
    marked = next(one for one in found if one.state == "in_sample")
    assert (marked.log_loss, marked.brier) == (None, None)
    assert (
        marked.num_labelled
        == rows.filter(pc.is_valid(rows[LABEL]))
        .filter((pc.field("model_version") == "2") & (pc.field("at") < pa.scalar(august)))
        .num_rows
    )
    # A fit that ends within a window spoils the whole of it.
    cut = quality_by_window(rows, **asked, granularity="1 month", learnt={"2": JULY + timedelta(days=2)})
    assert [one.state for one in cut if one.model_version == "2"] == ["in_sample", "measured"]


def test_too_few_labels_are_a_state_and_not_a_figure():
    early = measured(JULY + timedelta(hours=12), model_col=None)
    assert [q.state for q in early] == ["not_enough_labels"] * 2
    assert {(q.auc, q.log_loss, q.brier) for q in early} == {(None, None, None)}
    assert early[1].share_labelled == 0


def test_one_class_is_a_state():
    predictions, _ = story(60)
    rows = predictions.append_column(LABEL, pa.array([True] * 60))
    asked = {"prediction_col": "score", "timestamp_col": "at", "model_col": None, "granularity": "1 week"}
    assert quality_by_window(rows, **asked, min_labelled_rows=5)[0].state == "one_class_only"
    with pytest.raises(UserError, match="model version : A prediction is not between 0 and 1"):
        quality_by_window(rows.set_column(2, "score", pa.array([np.nan] * 60)), **asked, min_labelled_rows=5)


def test_certain_and_wrong_has_a_finite_loss():
    assert np.isfinite(log_loss(np.array([True]), np.array([0.0])))
    assert brier_score(np.array([True]), np.array([0.0])) == 1


def test_missing_columns_are_named():
    with pytest.raises(UnknownNameError, match=r"labels: column 'lat' is not declared. Did you mean 'late'"):
        joined(JULY, label_col="lat")
