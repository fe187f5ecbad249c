"""A hash of rows that depends on their values alone: not on order, files, chunks or engine."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["in_key_order", "row_hash"]


def in_key_order(rows: pa.Table, key: Sequence[str]) -> pa.Table:
    """Returns the rows sorted by ``key``: engines and writers keep orders of their own, a seeded draw needs one order.

    Args:
        rows: Any Arrow table.
        key: Columns whose values are unique together.
    """
    return rows.take(pc.sort_indices(rows, [(name, "ascending") for name in key]))


def row_hash(rows: pa.Table, key: Sequence[str]) -> str:
    """Returns the SHA-256 of the rows, sorted by ``key``, column by column in order of name.

    Args:
        rows: Any Arrow table; numbers, booleans, times, strings.
        key: Columns whose values are unique together.

    Returns:
        64 hexadecimal digits. NULL differs from every value; all NaN are one value.
    """
    ordered = in_key_order(rows, key)
    digest = hashlib.sha256(f"{ordered.num_rows}".encode())
    for name in sorted(ordered.column_names):
        column = ordered[name].combine_chunks()
        digest.update(f"\0{name}\0{column.type}\0".encode())
        digest.update(np.packbits(np.asarray(column.is_valid())).tobytes())
        digest.update(_value_bytes(column))
    return digest.hexdigest()


def _value_bytes(column: pa.Array) -> bytes:
    if pa.types.is_string(column.type):
        texts = [text.encode() for text in pc.fill_null(column, "").to_pylist()]
        lengths = np.array([len(text) for text in texts], np.int64)
        return lengths.tobytes() + b"".join(texts)
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        column = pc.cast(column, pa.int64() if pa.types.is_timestamp(column.type) else pa.int32())
    if pa.types.is_boolean(column.type):
        column = pc.cast(column, pa.int8())
    values = np.asarray(pc.fill_null(column, 0))
    if np.issubdtype(values.dtype, np.floating):
        values = np.where(np.isnan(values), np.nan, values) + 0.0  # one NaN, and -0.0 as 0.0
    return values.tobytes()
