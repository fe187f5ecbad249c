"""Avro files: values in the types that the file's schema gives them; nested ones as JSON text."""

import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from mosaic_assets.tables.sources.arrow_columns import kind_of, plain
from mosaic_assets.tables.sources.parsed import Parsed, ReadOptions
from mosaic_resources.errors import UserError, missing_extra

__all__ = ["parse_avro"]

TYPES = {
    "int": pa.int32(), "long": pa.int64(), "float": pa.float32(), "double": pa.float64(), "boolean": pa.bool_(),
    "string": pa.string(), "bytes": pa.binary(), "date": pa.date32(), "timestamp-millis": pa.timestamp("us", "UTC"),
    "timestamp-micros": pa.timestamp("us", "UTC"), "local-timestamp-millis": pa.timestamp("us"),
    "local-timestamp-micros": pa.timestamp("us"),
}  # fmt: skip


def parse_avro(landing: Path, paths: Sequence[str], options: ReadOptions) -> list[Parsed]:
    """Returns the rows of each object container file. See ``Reader``."""
    return [_parse_one(landing / path, path, options.paths) for path in paths]


def _parse_one(file: Path, path: str, paths: Mapping[str, tuple[str, ...]]) -> Parsed:
    schema, rows = _read(file)
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise UserError("The file's values are no records.", str(file))
    fields = {field["name"]: field["type"] for field in schema["fields"]}
    columns = {name: plain(_array([row[name] for row in rows], _kind(told))) for name, told in fields.items()}
    for name, steps in paths.items():
        columns[name] = plain(_array([_at(row, steps) for row in rows], None))
    numbers = pa.array(range(1, len(rows) + 1), pa.int64())
    return Parsed(pa.repeat(path, len(rows)), numbers, columns, lambda name: kind_of(columns[name]))


def _read(file: Path) -> tuple[Any, list[dict[str, Any]]]:
    try:
        content = file.read_bytes()
    except OSError as exc:
        raise UserError(f"The file cannot be read: {exc.strerror}.", str(file)) from exc
    try:
        import fastavro
    except ModuleNotFoundError as exc:
        raise missing_extra("fastavro", "avro") from exc
    try:
        reader = fastavro.reader(io.BytesIO(content))
        return reader.writer_schema, list(reader)  # type: ignore[arg-type]
    except Exception as exc:  # A torn file fails in whatever way its bytes lead to.
        raise UserError(f"The file is no readable Avro: {type(exc).__name__} {exc}.", str(file)) from exc


def _kind(told: Any) -> pa.DataType | None:
    """Returns the Arrow type of an Avro type; None where it has none of its own."""
    if isinstance(told, list):
        kinds = [one for one in told if one != "null"]
        return _kind(kinds[0]) if len(kinds) == 1 else None
    if isinstance(told, dict):
        return TYPES.get(told["logicalType"]) if "logicalType" in told else _kind(told["type"])
    return TYPES.get(told)


def _array(values: list[Any], kind: pa.DataType | None) -> pa.Array:
    if kind is not None:
        return pa.array(values, kind)
    try:
        return pa.array([_json_like(value) for value in values])
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # A union of several types.
        return pa.array([None if value is None else str(_json_like(value)) for value in values], pa.string())


def _json_like(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _json_like(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_json_like(inner) for inner in value]
    if value is None or isinstance(value, bool | int | float | str | bytes | datetime):
        return value
    return str(value)  # A decimal, a UUID, a time of day.


def _at(value: Any, steps: Sequence[str]) -> Any:
    for step in steps:
        value = value.get(step) if isinstance(value, dict) else None
    return value
