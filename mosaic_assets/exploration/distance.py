"""How far two samples of a column are apart."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["column_codes", "distribution_distance"]

NUM_BINS = 10
MAX_CATEGORIES = 50


def distribution_distance(one: pa.ChunkedArray, other: pa.ChunkedArray) -> float | None:
    """Returns the total variation distance between two samples of a column, 0 to 1; None for a type without one.

    Numbers are binned at tenths of the first sample, of texts its most frequent stand alone; missing is a value.

    Args:
        one: The sample that decides the bins: numbers, booleans or texts.
        other: Of the same type.

    Example:
        >>> distribution_distance(pa.chunked_array([["a", "b"]]), pa.chunked_array([["a", "a"]]))
        0.5
    """
    coded = column_codes(one, other)
    if coded is None:
        return None
    size = max(int(codes.max(initial=0)) for codes in coded) + 1
    left, right = (np.bincount(codes, minlength=size) / max(len(codes), 1) for codes in coded)
    return float(np.abs(left - right).sum() / 2)


def column_codes(one: pa.ChunkedArray, other: pa.ChunkedArray) -> list[npt.NDArray[np.int64]] | None:
    """Returns the (rows,) codes of both samples, bins by the first, the last code for missing."""
    kind = one.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        counts = pc.value_counts(one.drop_null()).to_pylist()
        ordered = sorted(counts, key=lambda item: (-item["counts"], item["values"]))[:MAX_CATEGORIES]
        known = pa.array([item["values"] for item in ordered], kind)
        return [_text_codes(values, known) for values in (one, other)]
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        return None
    numbers = [np.asarray(pc.fill_null(pc.cast(values, pa.float64(), safe=False), np.nan)) for values in (one, other)]
    finite = numbers[0][np.isfinite(numbers[0])]
    tenths = np.quantile(finite, np.linspace(0, 1, NUM_BINS + 1)[1:-1]) if len(finite) else np.zeros(0)
    edges, times = np.unique(tenths, return_counts=True)
    often = edges[times > 1] if len(edges) > 1 else edges  # a value that many rows have is a bin of its own
    missing = len(edges) + len(often) + 1
    return [
        np.where(np.isnan(v), missing, np.searchsorted(edges, v, side="right") + np.searchsorted(often, v))
        for v in numbers
    ]


def _text_codes(values: pa.ChunkedArray, known: pa.Array) -> npt.NDArray[np.int64]:
    codes = np.asarray(pc.fill_null(pc.index_in(values, value_set=known), len(known)), np.int64)
    return codes + np.asarray(pc.is_null(values)).astype(np.int64)
