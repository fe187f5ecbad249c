"""How well one feature alone predicts the label, judged on rows that it was not counted on."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["feature_codes", "feature_strengths", "label_codes", "out_of_fold_auc", "out_of_fold_information"]

MAX_BINS = 64
ROWS_PER_BIN = 20
NUM_LABEL_BINS = 10
NUM_FOLDS = 5
MAX_CLASSES = 20
# Below it one feature in a hundred may separate two classes by chance.
MIN_ROWS_PER_CLASS = 20
SMOOTHING_ROWS = 1.0

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def feature_strengths(
    rows: pa.Table, columns: Sequence[str], label: str, fold: Ints
) -> tuple[str, Mapping[str, float]] | None:
    """Returns the measure and its value for each feature; None where there are too few rows to say.

    Two classes: the area under the ROC curve, 0.5 to 1. More of them, or a number: the share of the label's entropy
    that the feature explains, 0 to 1. A value that is missing is a value of its own; a category that is seen once says
    nothing, as its row is judged by the others.

    Args:
        rows: Rows with features and label.
        columns: Features: numbers, booleans, times, dates, texts; others are passed over.
        label: Label column without NULLs.
        fold: (rows,) int64, any number that spreads the rows evenly and does not depend on their order.
    """
    classes = label_codes(rows[label])
    counts = np.bincount(classes)
    if len(counts) < 2 or np.sort(counts)[-2] < MIN_ROWS_PER_CLASS:
        return None
    measure = out_of_fold_auc if len(counts) == 2 else out_of_fold_information
    fold = np.mod(fold, NUM_FOLDS)
    coded = {name: feature_codes(rows[name]) for name in columns}
    found = {name: measure(codes, classes, fold) for name, codes in coded.items() if codes is not None}
    return ("auc" if len(counts) == 2 else "information"), found


def label_codes(label: pa.ChunkedArray) -> Ints:
    """Returns (rows,) int64 classes of a label; a number of many values is divided into tenths of its rows."""
    values = pc.unique(label)
    if len(values) > MAX_CLASSES and not pa.types.is_string(label.type):
        numbers = np.asarray(pc.cast(label, pa.float64()))
        edges = np.unique(np.quantile(numbers, np.linspace(0, 1, NUM_LABEL_BINS + 1)[1:-1]))
        return np.searchsorted(edges, numbers, side="right")
    ordered = values.take(pc.sort_indices(values))
    return np.asarray(pc.index_in(label, value_set=ordered), np.int64)


def feature_codes(column: pa.ChunkedArray) -> Ints | None:
    """Returns (rows,) int64 codes of a feature's values, 0 for missing; None for a type that is passed over."""
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        codes = column.combine_chunks().dictionary_encode().indices
        return np.asarray(pc.fill_null(pc.add(pc.cast(codes, pa.int64()), 1), 0))
    if pa.types.is_temporal(kind):
        column = pc.cast(pc.cast(column, pa.timestamp("us", tz=getattr(kind, "tz", None))), pa.int64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        return None
    numbers = np.asarray(pc.fill_null(pc.cast(column, pa.float64(), safe=False), np.nan))
    known = numbers[~np.isnan(numbers)]
    if not len(known):
        return np.zeros(len(numbers), np.int64)
    distinct, num_bins = np.unique(known), min(MAX_BINS, max(2, len(known) // ROWS_PER_BIN))
    if len(distinct) > num_bins:
        distinct = np.unique(np.quantile(known, np.linspace(0, 1, num_bins + 1)[:-1], method="lower"))
    return np.where(np.isnan(numbers), 0, np.searchsorted(distinct, numbers, side="right"))


def out_of_fold_auc(codes: Ints, classes: Ints, fold: Ints) -> float:
    """Returns the area under the ROC curve of each row's share of class 1 among equal values in the other folds.

    Args:
        codes: (rows,) int64 of the feature.
        classes: (rows,) 0 or 1.
        fold: (rows,) int64 in [0, NUM_FOLDS).

    Example:
        >>> label = np.arange(100) % 2
        >>> out_of_fold_auc(label, label, np.arange(100) // 2 % 5)
        1.0
    """
    score = _share_elsewhere(codes, classes, fold, 2)[:, 1]
    _, position = np.unique(score, return_inverse=True)
    positive, negative = (np.bincount(position, classes == one).astype(float) for one in (1, 0))
    below = np.cumsum(negative) - negative
    return float((positive * (below + negative / 2)).sum() / (positive.sum() * negative.sum()))


def out_of_fold_information(codes: Ints, classes: Ints, fold: Ints) -> float:
    """Returns the share of the classes' entropy that equal values in the other folds explain; 0 at least.

    Args:
        codes: (rows,) int64 of the feature.
        classes: (rows,) int64.
        fold: (rows,) int64 in [0, NUM_FOLDS).
    """
    shares = np.bincount(classes) / len(classes)
    entropy = -(shares[shares > 0] * np.log(shares[shares > 0])).sum()
    said = _share_elsewhere(codes, classes, fold, len(shares))[np.arange(len(classes)), classes]
    return max(0.0, float(1.0 + np.log(said).mean() / entropy))


def _share_elsewhere(codes: Ints, classes: Ints, fold: Ints, num_classes: int) -> Floats:
    """Returns (rows, classes) shares of the classes among rows of the same code in other folds."""
    _, codes = np.unique(codes, return_inverse=True)
    size = int(codes.max()) + 1
    cells = np.bincount((codes * NUM_FOLDS + fold) * num_classes + classes, minlength=size * NUM_FOLDS * num_classes)
    counts = cells.reshape(size, NUM_FOLDS, num_classes).astype(float)
    elsewhere = counts.sum(axis=1, keepdims=True) - counts  # (codes, folds, classes)
    prior = np.bincount(classes, minlength=num_classes) / len(classes)
    shares = (elsewhere + SMOOTHING_ROWS * prior) / (elsewhere.sum(axis=2, keepdims=True) + SMOOTHING_ROWS)
    chosen: Floats = shares[codes, fold]
    return chosen
