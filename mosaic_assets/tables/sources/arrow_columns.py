"""Columns that a reader gives in types of their own, as a table may have them."""

import pyarrow as pa

from mosaic_assets.tables.sources.typed import texts

__all__ = ["kind_of", "plain"]


def plain(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Returns a column with types that a table may have; those that it has not are their texts."""
    kind = column.type
    if pa.types.is_null(kind):
        return pa.nulls(len(column), pa.string())
    if pa.types.is_signed_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_date(kind):
        return column
    if pa.types.is_float32(kind) or pa.types.is_float64(kind) or pa.types.is_timestamp(kind):
        return column
    return texts(column)


def kind_of(column: pa.Array | pa.ChunkedArray) -> str | None:
    """Returns the SQL type of a plain column; None where it is text and holds no value."""
    kind = column.type
    if pa.types.is_signed_integer(kind):
        return "bigint" if pa.types.is_int64(kind) else "int"
    if pa.types.is_floating(kind):
        return "double"
    if column.null_count == len(column) and pa.types.is_string(kind):
        return None
    names = {"bool": "boolean", "date32[day]": "date"}
    return "timestamp" if pa.types.is_timestamp(kind) else names.get(str(kind), "string")
