"""A declared source of files: from paths to rows with the table's columns, losing nothing."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from mosaic_assets.tables.evolution import ADDED_BY_INGEST, Columns, Evolution, Layout, lay_out, merged_kind
from mosaic_assets.tables.sources.parsed import Parsed, ReadOptions
from mosaic_assets.tables.sources.registry import reader_of
from mosaic_assets.tables.sources.typed import text_of, typed
from mosaic_assets.tables.sources.whole_files import FILE_HASH
from mosaic_assets.value_types import TABLE_TYPES
from mosaic_resources.errors import UserError

__all__ = ["FileSource", "fit", "laid_out", "named_format"]


def named_format(name: str, columns: Columns, where: str) -> str:
    """Returns the name of a format that can be read as declared.

    Raises:
        UserError: There is no such format, or it has no nested values and a column has a path.
    """
    reader_of(name, where)
    if name in ("csv", "files") and columns.paths:
        raise UserError(f"Column '{next(iter(columns.paths))}' has a path, but {name} has no nested values.", where)
    return name


@dataclass(frozen=True)
class FileSource:
    """Files of one format and what becomes of their columns.

    Args:
        columns: What is declared.
        mode: What becomes of columns that are not known.
        format: Name of a reader.
        null_values: Texts that mean NULL.
        rescued: Name of the rescue column.
        contents: Whether the bytes of whole files are kept.
    """

    columns: Columns
    mode: Evolution = "rescue"
    format: str = "csv"
    null_values: tuple[str, ...] = ("", "NA")
    rescued: str = "_rescued_data"
    contents: bool = False

    @property
    def hash_column(self) -> str | None:
        """Column by which a file that only looks changed is known; None where rows have none."""
        return FILE_HASH if self.format == "files" else None

    def read(
        self, landing: Path, paths: Sequence[str], kept: Mapping[str, str] | None, where: str
    ) -> tuple[pa.Table, Layout]:
        """Returns the rows of files and the columns that they have.

        Args:
            landing: Landing folder.
            paths: Files, relative to it.
            kept: Column → type of the table; None where it does not exist.
            where: Table, for messages.

        Raises:
            UserError: A file is unreadable, lacks a declared column, or has one that the mode refuses.
        """
        options = ReadOptions(self.null_values, self.columns.paths, self.contents)
        parts = reader_of(self.format, where)(landing, paths, options)
        return laid_out(parts, self.columns, self.mode, kept, self.rescued, where, str(landing))


def laid_out(
    parts: Sequence[Parsed],
    columns: Columns,
    mode: Evolution,
    kept: Mapping[str, str] | None,
    rescued: str,
    where: str,
    root: str = "",
) -> tuple[pa.Table, Layout]:
    """Returns rows from wherever they were read, and the columns that they have.

    Args:
        parts: What a reader made.
        columns: What is declared.
        mode: What becomes of columns that are not known.
        kept: Column → type of the table; None where it does not exist.
        rescued: Name of the rescue column.
        where: Table, for messages.
        root: Folder or address that the parts' files are relative to, for messages.

    Raises:
        UserError: A declared column is missing, or there is one that the mode refuses.
    """
    found: dict[str, str | None] = {}
    known = {**(kept or {}), **columns.kinds}
    for part in parts:
        for name in part.columns:
            found[name] = known.get(name) or merged_kind(found.get(name), part.kind_of(name))
    layout = lay_out(columns.kinds, kept, found, mode, reserved=(*ADDED_BY_INGEST, rescued), where=where)
    return pa.concat_tables([fit(part, layout, columns, rescued, root) for part in parts]), layout


def fit(part: Parsed, layout: Layout, columns: Columns, rescued: str, root: str) -> pa.Table:
    """Returns rows with the columns of ``layout``, then ``_source_row``, the rescue column, ``_source_file``.

    Every value is in its column, or its text is in the rescue column under its column's name, unless the
    layout ignores the column.

    Raises:
        UserError: A declared column is not in a file that names its columns.
    """
    num_rows = len(part.numbers)
    if part.names_columns:
        missing = [name for name in columns.kinds if name not in part.columns]
        if missing and num_rows:
            raise UserError(
                f"Column '{missing[0]}' is declared but not in the file.",
                f"{root}/{part.files[0].as_py()}" if root else part.files[0].as_py(),
                f"It has: {', '.join(part.columns)}.",
            )
    rescue = {row: dict(values) for row, values in part.rescued.items()}
    table: dict[str, pa.Array | pa.ChunkedArray] = {}
    for name, kind in layout.kinds.items():
        column = part.columns.get(name)
        table[name] = (
            pa.nulls(num_rows, TABLE_TYPES[kind]) if column is None else typed(column, TABLE_TYPES[kind], name, rescue)
        )
    for name, column in part.columns.items():
        if name not in layout.kinds and name not in layout.ignored and column.null_count < num_rows:
            _rescue_column(column, name, rescue)
    kept = [json.dumps(rescue[row], ensure_ascii=False) if row in rescue else None for row in range(num_rows)]
    ours = {"_source_row": part.numbers, rescued: pa.array(kept, pa.string()), "_source_file": part.files}
    return pa.table({**table, **ours})


def _rescue_column(column: pa.Array | pa.ChunkedArray, name: str, rescue: dict[int, dict[str, str]]) -> None:
    for row, value in enumerate(column.to_pylist()):
        if value is not None:
            rescue.setdefault(row, {})[name] = text_of(value)
