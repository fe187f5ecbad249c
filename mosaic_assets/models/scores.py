"""How good probabilities are, against labels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mosaic_resources.errors import UserError

__all__ = ["calibration_table", "scores", "scores_by_slice"]

Floats = npt.NDArray[Any]
SMALLEST_PROBABILITY = 1e-7


def scores(label: Floats, probability: Floats) -> dict[str, float]:
    """Returns the metrics of a binary prediction.

    Args:
        label: (rows,) 0 or 1.
        probability: (rows,) in [0, 1].

    Returns:
        ``log_loss``, ``brier_score``, ``positive_share``, ``mean_probability``, ``num_rows``, and ``roc_auc``: that one
        is absent where the rows hold one class only, for it is not defined there.

    Raises:
        UserError: There are no rows, or a probability is not finite.
    """
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

    truth, predicted = np.asarray(label, np.float64), np.asarray(probability, np.float64)
    if not len(truth) or not np.isfinite(predicted).all():
        raise UserError("Metrics need at least one row, and a finite probability in each.")
    clipped = np.clip(predicted, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    found = {
        "log_loss": float(log_loss(truth, clipped, labels=[0, 1])),
        "brier_score": float(brier_score_loss(truth, clipped)),
        "positive_share": float(truth.mean()),
        "mean_probability": float(predicted.mean()),
        "num_rows": float(len(truth)),
    }
    if 0 < truth.sum() < len(truth):
        found["roc_auc"] = float(roc_auc_score(truth, predicted))
    return found


def calibration_table(label: Floats, probability: Floats, num_bins: int = 10) -> list[dict[str, float]]:
    """Returns, for each bin of equally many rows, the mean probability beside the share of label 1.

    Args:
        label: (rows,) 0 or 1.
        probability: (rows,).
        num_bins: Bins; fewer where there are fewer rows.
    """
    order = np.argsort(probability, kind="stable")
    bins = [rows for rows in np.array_split(order, num_bins) if len(rows)]
    return [
        {
            "mean_probability": float(np.mean(probability[rows])),
            "positive_share": float(np.mean(label[rows])),
            "num_rows": float(len(rows)),
        }
        for rows in bins
    ]


def scores_by_slice(
    label: Floats, probability: Floats, slices: Sequence[object], smallest_rows: int = 100
) -> Mapping[str, dict[str, float]]:
    """Returns the metrics of each slice that has enough rows, largest first.

    Args:
        label: (rows,) 0 or 1.
        probability: (rows,).
        slices: (rows,) value that each row belongs to, for instance its carrier.
        smallest_rows: Rows that a slice needs.
    """
    values = np.array([str(value) for value in slices])
    names, counts = np.unique(values, return_counts=True)
    largest = sorted(zip(-counts, names, strict=True))
    return {
        str(name): scores(label[values == name], probability[values == name])
        for count, name in largest
        if -count >= smallest_rows
    }
