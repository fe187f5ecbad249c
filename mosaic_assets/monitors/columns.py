"""Columns as the monitors see them: numbers, or texts with their counts."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["is_numeric", "is_text", "numbers_of", "texts_of"]


def is_numeric(kind: pa.DataType) -> bool:
    """Returns whether drift of the type is measured on histograms."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def is_text(kind: pa.DataType) -> bool:
    """Returns whether drift of the type is measured on categories: texts, dictionaries of texts, booleans."""
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(value) or pa.types.is_large_string(value) or pa.types.is_boolean(value))


def numbers_of(values: pa.ChunkedArray) -> npt.NDArray[np.float64] | None:
    """Returns the values that are not NULL as float64 (NaN and infinities stay), or None for no numeric type."""
    if not is_numeric(values.type):
        return None
    return np.asarray(values.drop_null().cast(pa.float64(), safe=False).to_numpy(), np.float64)


def texts_of(values: pa.ChunkedArray) -> dict[str, int] | None:
    """Returns text → count without NULL, most frequent first (ties by text), or None for no categorical type."""
    if not is_text(values.type):
        return None
    plain = values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values
    pairs = [(_text(pair["values"]), pair["counts"]) for pair in pc.value_counts(plain).to_pylist()]
    return dict(sorted(((text, count) for text, count in pairs if text is not None), key=lambda p: (-p[1], p[0])))


def _text(value: str | bool | None) -> str | None:
    return str(value) if isinstance(value, bool) else value
