"""Quality of predictions once their labels are known: by window and model version, never from labels of the future."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.monitors.ranking import Bools, Floats, roc_auc
from mosaic_assets.monitors.windows import Granularity, window_starts
from mosaic_resources.errors import UnknownNameError, UserError

__all__ = ["LABEL", "Quality", "QualityState", "brier_score", "join_labels", "log_loss", "measure", "quality_by_window"]

QualityState = Literal["measured", "in_sample", "not_enough_labels", "one_class_only"]
LABEL = "label__known"
_UTC = pa.timestamp("us", tz="UTC")
# A saturated float32 probability would make the loss infinite; the same bound as in mosaic_assets.models.scores.
CLIP = 1e-7


@dataclass(frozen=True)
class Quality:
    """How well the predictions of one window and model version came true.

    Args:
        start: Start of the window, UTC.
        model_version: Version that predicted.
        num_predictions: Predictions in the window.
        num_labelled: Those whose label is known by now.
        state: Whether the figures mean something; they are None where it is not ``measured``.
            ``in_sample``: the version was fitted on rows of the window, so its figures would flatter it.
    """

    start: datetime
    model_version: str
    num_predictions: int
    num_labelled: int
    state: QualityState
    auc: float | None = None
    log_loss: float | None = None
    brier: float | None = None

    @property
    def share_labelled(self) -> float:
        """Share of the predictions whose label is known; 0 for no predictions."""
        return self.num_labelled / self.num_predictions if self.num_predictions else 0.0


def join_labels(
    predictions: pa.Table,
    labels: pa.Table,
    keys: Sequence[str],
    *,
    label_col: str,
    known_col: str | None,
    now_utc: datetime,
) -> pa.Table:
    """Returns the predictions with ``label__known``: bool, NULL where no label is known by now.

    A label that was corrected counts as it was last known.

    Args:
        predictions: The predictions; keys may repeat.
        labels: Keys, label (boolean, or a number that is 0 or 1) and the time at which it was known.
        keys: Columns that both share.
        label_col: Column of the label; NULL labels are not known.
        known_col: Column of the known time; None: known at once.
        now_utc: The clock's time, aware.

    Raises:
        UnknownNameError: A column is missing.
    """
    _need(predictions, keys, "predictions")
    _need(labels, [*keys, label_col, *([known_col] if known_col else [])], "labels")
    known = labels.filter(pc.is_valid(labels[label_col]))
    if known_col:
        known = known.filter(pc.less_equal(known[known_col].cast(_UTC), pa.scalar(now_utc, _UTC))).sort_by(known_col)
    flags = pa.table({**{key: known[key] for key in keys}, LABEL: known[label_col].cast(pa.float64()).cast(pa.bool_())})
    last = flags.group_by(list(keys), use_threads=False).aggregate([(LABEL, "last")]).rename_columns([*keys, LABEL])
    return predictions.join(last, list(keys), join_type="left outer")


def quality_by_window(
    joined: pa.Table,
    *,
    prediction_col: str,
    timestamp_col: str,
    model_col: str | None,
    granularity: Granularity,
    min_labelled_rows: int,
    learnt: Mapping[str, datetime] | None = None,
) -> list[Quality]:
    """Returns the quality of each window and model version, in order.

    Args:
        joined: Predictions with ``label__known``, see ``join_labels``.
        prediction_col: Probability of the positive class.
        timestamp_col: Time of the prediction.
        model_col: Column of the model version; None: one model.
        granularity: Length of the windows.
        min_labelled_rows: Fewer known labels are ``not_enough_labels``.
        learnt: Model version → end of what it was fitted on; windows of it that begin earlier are ``in_sample``.
    """
    _need(joined, [prediction_col, timestamp_col, LABEL, *([model_col] if model_col else [])], "predictions")
    starts = window_starts(joined[timestamp_col], granularity)
    versions = joined[model_col].cast(pa.string()) if model_col else pa.chunked_array([pa.repeat("", len(joined))])
    pairs = pa.table({"start": starts, "version": versions})
    order = [("start", "ascending"), ("version", "ascending")]
    found = pairs.group_by(["start", "version"]).aggregate([]).sort_by(order)
    made = []
    for start, version in zip(found["start"], found["version"], strict=True):
        rows = joined.filter(pc.and_(pc.equal(starts, start), pc.equal(versions, version)))
        end = (learnt or {}).get(version.as_py())
        if end is not None and start.as_py() < end:
            num_labelled = rows.num_rows - rows[LABEL].null_count
            made.append(Quality(start.as_py(), version.as_py(), rows.num_rows, num_labelled, "in_sample"))
            continue
        made.append(measure(rows[prediction_col], rows[LABEL], start.as_py(), version.as_py(), min_labelled_rows))
    return made


def measure(
    scores: pa.ChunkedArray, labels: pa.ChunkedArray, start: datetime, model_version: str, min_labelled_rows: int
) -> Quality:
    """Returns the quality of one window.

    Raises:
        UserError: A prediction with a label is NULL or NaN, or lies outside 0 to 1.
    """
    held = pc.is_valid(labels)
    flags: Bools = labels.filter(held).to_numpy().astype(bool)
    values: Floats = scores.filter(held).cast(pa.float64()).to_numpy()
    if not bool(np.all((values >= 0) & (values <= 1))):
        where = f"model version {model_version}"
        raise UserError("A prediction is not between 0 and 1.", where, "Name the column of the probability.")
    head = (start, model_version, len(labels), len(flags))
    if len(flags) < min_labelled_rows:
        return Quality(*head, "not_enough_labels")
    area = roc_auc(flags, values)
    if area is None:
        return Quality(*head, "one_class_only")
    return Quality(*head, "measured", area, log_loss(flags, values), brier_score(flags, values))


def log_loss(labels: Bools, scores: Floats) -> float:
    """Returns the mean negative log-likelihood of the labels, in nats; (rows,) and (rows,), at least one row."""
    clipped = np.clip(scores, CLIP, 1 - CLIP)
    return float(-np.mean(np.where(labels, np.log(clipped), np.log1p(-clipped))))


def brier_score(labels: Bools, scores: Floats) -> float:
    """Returns the mean squared distance of probability and outcome; (rows,) and (rows,), at least one row."""
    return float(np.mean((scores - labels) ** 2))


def _need(table: pa.Table, columns: Sequence[str], kind: str) -> None:
    for name in columns:
        if name not in table.column_names:
            raise UnknownNameError("column", name, table.column_names, kind)
