"""CSV files whose columns are not all known yet: every cell as text, and the type that the texts suggest."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from mosaic_assets.tables.sources.csv_files import MEND, read_csv
from mosaic_assets.tables.sources.parsed import Parsed, ReadOptions
from mosaic_resources.errors import UserError

__all__ = ["kind_of_texts", "parse_csv"]

# Texts of which the typed value keeps everything: no leading zeros, no more digits than the type holds.
KINDS = (
    ("bigint", r"^(0|-?[1-9]\d{0,17})$"),
    ("double", r"^-?(0|[1-9]\d{0,7})(\.\d{1,7})?$"),
    ("boolean", r"^(?i:true|false)$"),
    ("date", r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$"),
    ("timestamp", r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[T ]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?Z?$"),
)
RESCUED = "\0rescued"


def parse_csv(landing: Path, paths: Sequence[str], options: ReadOptions) -> list[Parsed]:
    """Returns the rows of each file, every cell as text. See ``Reader``."""
    return [_parse_one(landing, path, options) for path in paths]


def kind_of_texts(column: pa.Array | pa.ChunkedArray) -> str | None:
    """Returns the narrowest SQL type that holds every text of a column; None where all are NULL.

    Example:
        >>> kind_of_texts(pa.array(["1", None])), kind_of_texts(pa.array(["00501"]))
        ('bigint', 'string')
    """
    if column.null_count == len(column):
        return None
    for kind, pattern in KINDS:
        if pc.all(pc.match_substring_regex(column, pattern)).as_py():
            return kind
    return "string"


def _parse_one(landing: Path, path: str, options: ReadOptions) -> Parsed:
    names = _header(landing / path)
    if not names:
        return Parsed(pa.array([], pa.string()), pa.array([], pa.int64()), {}, lambda _: None, names_columns=False)
    # A column of the name that the row numbers take is left out, and so rescued.
    schema = {name: "string" for name in names if name != "_source_row"}
    rows = read_csv(landing / path, schema, options.null_values, RESCUED)
    rescued = {
        int(row): json.loads(rows[RESCUED][row].as_py())
        for row in pc.indices_nonzero(pc.is_valid(rows[RESCUED])).to_pylist()
    }
    columns = {name: rows[name] for name in schema}
    return Parsed(
        pa.repeat(path, rows.num_rows), rows["_source_row"].combine_chunks(), columns,
        lambda name: kind_of_texts(columns[name]), rescued,
    )  # fmt: skip


def _header(path: Path) -> list[str]:
    """Returns the names in the first line; none of a file that holds nothing."""
    try:
        with path.open("rb") as file:
            line = file.readline().removeprefix(b"\xef\xbb\xbf").strip(b"\r\n")
    except OSError as exc:
        raise UserError(f"The file cannot be read: {exc.strerror}.", str(path)) from exc
    if not line.strip():
        return []
    try:
        return list(pa_csv.read_csv(io.BytesIO(line + b"\n")).column_names)
    except UnicodeDecodeError as exc:
        raise UserError(f"The file is no readable CSV: byte {exc.start} is not UTF-8.", str(path), MEND) from exc
    except pa.ArrowInvalid as exc:
        raise UserError(f"The file is no readable CSV: {exc}.", str(path), MEND) from exc
