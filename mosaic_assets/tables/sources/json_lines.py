"""Newline-delimited JSON: nested objects are kept whole as JSON text beside the values at declared paths."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from mosaic_assets.tables.sources.parsed import Parsed, ReadOptions
from mosaic_assets.tables.sources.typed import text_of
from mosaic_resources.errors import UserError

__all__ = ["columns_of_objects", "parse_json"]

FILES_PER_CHUNK = 2_000


def parse_json(landing: Path, paths: Sequence[str], options: ReadOptions) -> list[Parsed]:
    """Returns the rows of many files at a time, one object a line. See ``Reader``.

    A line that is no object, or that names a key twice, keeps its text under ``_raw``.
    """
    chunks = (paths[start : start + FILES_PER_CHUNK] for start in range(0, len(paths), FILES_PER_CHUNK))
    return [_parse_chunk(str(landing), chunk, options) for chunk in chunks]


def _parse_chunk(landing: str, paths: Sequence[str], options: ReadOptions) -> Parsed:
    files: list[str] = []
    numbers: list[int] = []
    rows: list[dict[str, Any]] = []
    rescued: dict[int, dict[str, str]] = {}
    for path in paths:
        for number, line in enumerate(_content(f"{landing}/{path}").split(b"\n"), 1):
            if not line.strip():
                continue
            row = _object(line)
            if row is None:
                rescued[len(rows)] = {"_raw": line.decode("utf-8", "backslashreplace").rstrip("\r")}
            files.append(path)
            numbers.append(number)
            rows.append(row or {})
    columns, kind_of = columns_of_objects(rows, options.paths)
    return Parsed(
        pa.array(files, pa.string()), pa.array(numbers, pa.int64()), columns, kind_of, rescued,
        names_columns=False,
    )  # fmt: skip


def columns_of_objects(
    rows: Sequence[Mapping[str, Any]], paths: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, pa.Array | pa.ChunkedArray], Callable[[str], str | None]]:
    """Returns the columns of JSON objects as texts, and what type the values of a column suggest.

    Args:
        rows: The objects.
        paths: Column → steps to its value within nested objects.
    """
    values = _columns(rows, paths)
    columns = {name: pa.array([_text(value) for value in column], pa.string()) for name, column in values.items()}
    kinds = {name: _kind({type(value) for value in column}, column) for name, column in values.items()}
    return dict(columns), kinds.__getitem__


def _content(path: str) -> bytes:
    try:
        return Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as exc:
        raise UserError(f"The file cannot be read: {exc.strerror}.", path) from exc


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        text = line.decode()
        row = json.loads(text, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite)
        if "\\u" in text:
            json.dumps(row, ensure_ascii=False).encode()  # Half of a surrogate pair is no text.
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("no finite number")
    return value


def _columns(rows: Sequence[Mapping[str, Any]], paths: Mapping[str, tuple[str, ...]]) -> dict[str, list[Any]]:
    # A key that bears the name of a column with a path is another value: it is told apart, and so rescued.
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {(f"{name} (key)" if name in paths else name): [row.get(name) for row in rows] for name in names}
    for name, path in paths.items():
        columns[name] = columns.pop(f"{name} (key)") if path == (name,) and name in names else [
            _at(row, path) for row in rows
        ]  # fmt: skip
    return columns


def _at(value: Any, path: Sequence[str]) -> Any:
    for step in path:
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else text_of(value)


def _kind(types: set[type], values: Sequence[Any]) -> str | None:
    types.discard(type(None))
    if not types:
        return None
    if types == {bool}:
        return "boolean"
    if types == {int}:
        return "bigint" if all(value is None or -(2**63) <= value < 2**63 for value in values) else "string"
    if types <= {int, float}:
        return "double" if all(type(value) is not int or abs(value) <= 2**53 for value in values) else "string"
    return "string"
