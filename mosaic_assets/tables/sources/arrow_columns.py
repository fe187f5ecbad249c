"""Columns that a reader gives in types of their own, as a table may have them."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.tables.sources.parsed import Parsed
from mosaic_assets.tables.sources.typed import texts

__all__ = ["kind_of", "parsed_table", "plain"]


def parsed_table(table: pa.Table, path: str, paths: Mapping[str, tuple[str, ...]]) -> Parsed:
    """Returns the rows of one file that a library reads into Arrow, numbered from 1.

    Args:
        table: The rows.
        path: The file, relative to the landing folder.
        paths: Column → steps to its value within nested ones.
    """
    columns = {name: plain(table[name]) for name in table.column_names}
    columns |= {name: plain(_at(table, steps)) for name, steps in paths.items()}
    return Parsed(
        pa.repeat(path, table.num_rows), pa.array(range(1, table.num_rows + 1), pa.int64()), columns,
        lambda name: kind_of(columns[name]),
    )  # fmt: skip


def plain(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Returns a column with types that a table may have; those that it has not are their texts."""
    kind = column.type
    if pa.types.is_null(kind):
        return pa.nulls(len(column), pa.string())
    if pa.types.is_signed_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_date(kind):
        return column
    if pa.types.is_binary(kind):
        return column  # Base64 where it is text in the table, bytes where it is declared so.
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


def _at(table: pa.Table, steps: Sequence[str]) -> pa.ChunkedArray:
    value = table[steps[0]] if steps[0] in table.column_names else pa.nulls(table.num_rows)
    for step in steps[1:]:
        if not pa.types.is_struct(value.type) or value.type.get_field_index(step) < 0:
            return pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
        value = pc.struct_field(value, step)
    return value
