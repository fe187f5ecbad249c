"""Values to a declared type; what does not fit is NULL and keeps its text beside."""

import base64
import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["text_of", "texts", "typed"]


def typed(
    column: pa.Array | pa.ChunkedArray, kind: pa.DataType, name: str, rescue: dict[int, dict[str, str]]
) -> pa.Array | pa.ChunkedArray:
    """Returns a column in type ``kind``; a value that does not fit is NULL and its text is put into ``rescue``.

    Args:
        column: ``(rows,)`` values of any type; text is parsed.
        kind: The type of the table.
        name: Name of the column, the key in ``rescue``.
        rescue: Row → name → text; filled here.
    """
    if column.type == kind:
        return column
    if pa.types.is_string(kind):
        return texts(column)
    try:
        return _cast(column, kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass  # At least one value does not fit: look at each.
    values: list[object] = []
    for position, scalar in enumerate(column):
        try:
            values.append(_cast(pa.array([scalar.as_py()], column.type), kind)[0].as_py())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            values.append(None)
            rescue.setdefault(position, {})[name] = text_of(scalar.as_py())
    return pa.array(values, kind)


def texts(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Returns the texts of a column; nested values become JSON."""
    if pa.types.is_string(column.type):
        return column
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type) or pa.types.is_dictionary(column.type):
        return pa.array([None if value is None else text_of(value) for value in column.to_pylist()], pa.string())
    return pc.cast(column, pa.string())


def text_of(value: Any) -> str:
    """Returns one value as text: text as it is, bytes in base64, everything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if value is None or isinstance(value, bool | int | float | dict | list):
        return json.dumps(value, ensure_ascii=False, default=text_of)
    return str(value)


def _cast(column: pa.Array | pa.ChunkedArray, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    if not pa.types.is_string(column.type):
        if pa.types.is_timestamp(kind) and pa.types.is_timestamp(column.type) and column.type.tz is None:
            return pc.assume_timezone(pc.cast(column, pa.timestamp("us")), "UTC")
        return pc.cast(column, kind)
    trimmed = pc.utf8_trim_whitespace(column)
    if pa.types.is_timestamp(kind):
        # '2013-01-01T10:00:00Z' and its zone-less form, which is taken as UTC.
        plain = pc.replace_substring_regex(trimmed, r"(Z|\+00:00)$", "")
        return pc.assume_timezone(pc.cast(plain, pa.timestamp("us")), "UTC")
    return pc.cast(trimmed, kind)
