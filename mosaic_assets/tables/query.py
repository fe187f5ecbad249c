"""A query of a step: which tables it names, at which versions it reads them, which columns come from where."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mosaic_assets.tables.transforms import run_sql
from mosaic_assets.work import Work
from mosaic_resources.delta.schema import schema_rows
from mosaic_resources.engine.session import engine_errors
from mosaic_resources.errors import UserError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["Columns", "QueryText", "pin", "read_text", "run_query", "tables_in"]

Columns = Mapping[str, Sequence[tuple[str, str]]]


def tables_in(query: str) -> list[str]:
    """Returns the keys (``raw/flights``) of the tables that a query names as ``raw.flights``."""
    from mosaic_assets.lineage.sql import tables_of

    return sorted({name.replace(".", "/") for name in tables_of(query)})


def pin(work: Work, tables: Sequence[str]) -> dict[str, int]:
    """Returns the newest version of each table, and records that this step reads it."""
    versions = {name: work.newest(name) for name in tables}
    for name, version in versions.items():
        work.uses(name, version)
    return versions


def run_query(work: Work, query: str, versions: Mapping[str, int]) -> "tuple[DataFrame, Columns]":
    """Returns the lazy result of a query over pinned tables, and where its columns come from.

    Raises:
        UserError: The query is refused; a column that is not there is named with file, line and nearest name.
        DependencyError: The engine is gone.
    """
    from mosaic_assets.lineage.columns import column_lineage
    from mosaic_assets.lineage.unknown_columns import unknown_columns

    lake = work.seams.lake
    schemas = {
        name.replace("/", "."): dict(schema_rows(lake.schema(name, version))) for name, version in versions.items()
    }
    known = column_lineage(query, schemas).known
    columns = {out: [(table.replace(".", "/"), name) for table, name in used] for out, used in known.items()}
    unknown = unknown_columns(query, schemas)
    try:
        with engine_errors(work.seams.settings.engine, work.asset):
            frame = run_sql(work.seams.engine.session(), lake, query, versions, work.parameters)
            if unknown:
                assert frame.schema is not None  # The engine is asked; it has the last word on what is there.
    except UserError as exc:
        if unknown:
            raise unknown[0].error(_place(work, query)) from exc
        raise
    return frame, columns


def _place(work: Work, query: str) -> str:
    if not isinstance(query, QueryText):
        return work.asset
    root = work.seams.settings.project_root
    return f"{work.asset}, {query.file.relative_to(root) if query.file.is_relative_to(root) else query.file}"


class QueryText(str):
    """A query that knows the file that it stands in, for its errors."""

    file: Path

    @classmethod
    def of(cls, text: str, file: Path) -> "QueryText":
        """Returns the text of a file."""
        made = cls(text)
        made.file = file
        return made


def read_text(file: Path, place: str) -> str:
    """Returns a file's text, which remembers its file.

    Raises:
        UserError: There is no such file.
    """
    try:
        return QueryText.of(file.read_text(), file)
    except OSError as exc:
        raise UserError(f"The file '{file}' cannot be read: {exc.strerror}.", place) from exc
