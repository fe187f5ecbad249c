"""CSV files to Arrow, losing nothing: what does not fit goes to the rescue column."""

import codecs
import io
import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from mosaic_assets.tables.sources.typed import typed
from mosaic_resources.errors import UserError

__all__ = ["read_csv", "type_of"]

MEND = "Mend it, or take it out of the landing folder; the other new files wait with it."

TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "bigint": pa.int64(),
    "int": pa.int32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "binary": pa.binary(),
}


def type_of(name: str, where: str) -> pa.DataType:
    """Returns the Arrow type of a SQL type name.

    Raises:
        UserError: The name is not one of the types that a source may declare.
    """
    if name not in TYPES:
        raise UserError(f"Type '{name}' is unknown.", where, f"Known: {', '.join(TYPES)}.")
    return TYPES[name]


def read_csv(path: Path, schema: Mapping[str, str], null_values: tuple[str, ...], rescued: str) -> pa.Table:
    """Returns one file's rows with declared types, ``_source_row`` and the rescue column.

    A row with the wrong number of cells keeps its text under ``_raw``; a value that does not parse becomes
    NULL and keeps its text under its column's name; a column that is not declared is rescued likewise.

    Args:
        path: The file; its first line is the header.
        schema: Column name → SQL type.
        null_values: Texts that mean NULL.
        rescued: Name of the rescue column.

    Returns:
        Columns of ``schema``, then ``_source_row`` (int64, 1 is the first line after the header), then
        ``rescued`` (JSON text or NULL).

    Raises:
        UserError: The file is missing, not UTF-8, no CSV, or lacks a declared column.

    A file that holds nothing, not even a header, has no rows.
    """
    where = str(path)
    bad_rows: list[tuple[int, str]] = []

    def keep(row: pa_csv.InvalidRow) -> str:
        bad_rows.append((int(row.number), row.text))
        return "skip"

    content = _content(path)
    if not content.strip():
        return _no_rows({name: type_of(kind, where) for name, kind in schema.items()}, rescued)
    text, header = _parse(path, content, keep, null_values)
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"Column '{twice}' stands twice in the header.", where, MEND)
    missing = [name for name in schema if name not in header]
    if missing:
        raise UserError(
            f"Column '{missing[0]}' is declared but not in the file.", where, f"It has: {', '.join(header)}."
        )
    numbers = _row_numbers(text.num_rows, [number - 2 for number, _ in bad_rows])
    rescue: dict[int, dict[str, str]] = {}
    columns = {name: typed(text[name], type_of(kind, where), name, rescue) for name, kind in schema.items()}
    for name in header:
        if name not in schema:
            _rescue_column(text[name], name, rescue)
    rescue_text = pa.array([json.dumps(rescue[i]) if i in rescue else None for i in range(text.num_rows)], pa.string())
    good = pa.table({**columns, "_source_row": numbers, rescued: rescue_text})
    return (
        pa.concat_tables([good, _raw_rows(good.schema, bad_rows, rescued)]).sort_by("_source_row") if bad_rows else good
    )


def _content(path: Path) -> bytes:
    """Returns the bytes of a file that is UTF-8 text, without a byte order mark."""
    try:
        content = path.read_bytes().removeprefix(codecs.BOM_UTF8)
        if not content.isascii():
            content.decode()
    except OSError as exc:
        raise UserError(f"The file cannot be read: {exc.strerror}.", str(path)) from exc
    except UnicodeDecodeError as exc:
        raise UserError(f"The file is no readable CSV: byte {exc.start} is not UTF-8.", str(path), MEND) from exc
    return content


def _no_rows(types: Mapping[str, pa.DataType], rescued: str) -> pa.Table:
    fields = [*types.items(), ("_source_row", pa.int64()), (rescued, pa.string())]
    return pa.schema(fields).empty_table()


def _parse(path: Path, content: bytes, keep: object, null_values: tuple[str, ...]) -> tuple[pa.Table, list[str]]:
    header = content.split(b"\n", 1)[0].decode().strip("\r")
    try:
        names = pa_csv.read_csv(io.BytesIO(f"{header}\n".encode())).column_names
        table = pa_csv.read_csv(
            io.BytesIO(content),
            # Row numbers of invalid rows are known only without threads.
            read_options=pa_csv.ReadOptions(use_threads=False, block_size=1 << 24),
            parse_options=pa_csv.ParseOptions(invalid_row_handler=keep, newlines_in_values=False),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=list(null_values),
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as exc:
        reason = str(exc).splitlines()[0][:200]
        raise UserError(f"The file is no readable CSV: {reason}.", str(path), MEND) from exc
    return table, list(table.column_names)


def _row_numbers(num_good: int, bad: list[int]) -> pa.Array:
    """Returns the numbers of the good rows when the rows at 0-based positions ``bad`` were taken out."""
    taken = set(bad)
    numbers: list[int] = []
    position = 0
    if not taken:
        return pa.array(range(1, num_good + 1), pa.int64())
    while len(numbers) < num_good:
        if position not in taken:
            numbers.append(position + 1)
        position += 1
    return pa.array(numbers, pa.int64())


def _rescue_column(column: pa.ChunkedArray, name: str, rescue: dict[int, dict[str, str]]) -> None:
    for position, text in enumerate(column.to_pylist()):
        if text is not None:
            rescue.setdefault(position, {})[name] = text


def _raw_rows(schema: pa.Schema, bad_rows: list[tuple[int, str]], rescued: str) -> pa.Table:
    """Returns the malformed rows: every column NULL but the row number and the text."""
    arrays = [pa.nulls(len(bad_rows), field.type) for field in schema]
    arrays[schema.get_field_index("_source_row")] = pa.array([number - 1 for number, _ in bad_rows], pa.int64())
    arrays[schema.get_field_index(rescued)] = pa.array(
        [json.dumps({"_raw": text}) for _, text in bad_rows], pa.string()
    )
    return pa.table(arrays, schema=schema)
