"""Arrow columns as a model's encoding and an on-demand function read them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["model_columns"]


def model_columns(columns: Mapping[str, pa.ChunkedArray]) -> dict[str, npt.NDArray[Any]]:
    """Returns (rows,) arrays: float64 with NaN, datetime64[us] with NaT, or object with None.

    The endpoint gives its looked-up columns the same forms, so a function sees no difference.
    """
    return {name: _column(column) for name, column in columns.items()}


def _column(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    if pa.types.is_timestamp(column.type):
        naive = pc.cast(pc.cast(column, pa.timestamp("us", tz=column.type.tz)), pa.timestamp("us"))
        return np.asarray(naive.to_numpy())
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.array(column.to_pylist(), dtype=object)
    return np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False))
