"""A query of a database as a source of rows: its cursor is compared by the database itself."""

import pyarrow as pa

from mosaic_assets.tables.cursor import CursorSource, CursorValue, parsed_rows
from mosaic_assets.tables.evolution import Columns, Evolution
from mosaic_assets.tables.sources.arrow_columns import kind_of, plain
from mosaic_assets.tables.sources.parsed import Parsed
from mosaic_resources.databases.contract import Database, Selection
from mosaic_resources.errors import UnknownNameError, UserError

__all__ = ["database_source"]


def database_source(
    database: Database,
    query: str,
    *,
    origin: str,
    columns: Columns,
    mode: Evolution,
    cursor: str | None,
    lag: float,
    rescued: str,
    where: str,
) -> CursorSource:
    """Returns the rows of ``query`` as a source; columns have the types that the database gives them.

    Args:
        database: What is asked.
        query: One query in its SQL.
        origin: The database as it may be shown.
        columns: What is declared; other columns are inferred.
        mode: What becomes of columns that are not known.
        cursor: Column of the result that grows; None: all rows each time.
        lag: See ``CursorSource``.
        rescued: Name of the rescue column.
        where: Asset, for messages.
    """

    def fetch(start: CursorValue | None) -> Parsed:
        rows = database.read(Selection(query, cursor, start))
        twice = next((name for name in rows.column_names if rows.column_names.count(name) > 1), None)
        if twice is not None:
            raise UserError(f"Column '{twice}' stands twice in the result.", where, "Name one of them otherwise.")
        for name in (*columns.kinds, *((cursor,) if cursor else ())):
            if name not in rows.column_names:
                raise UnknownNameError("column of the result", name, rows.column_names, where)
        if cursor:
            _check_kind(columns.kinds.get(cursor), kind_of(plain(rows[cursor])), cursor, where)
        return _parsed(rows)

    return CursorSource(fetch, origin, columns, mode, cursor, lag, rescued)


def _check_kind(declared: str | None, given: str | None, cursor: str, where: str) -> None:
    """Ensures that the database can compare the cursor with a value of the table."""
    if declared and given and declared != given and {declared, given} != {"int", "bigint"}:
        raise UserError(
            f"The cursor '{cursor}' is declared {declared}, but the database gives {given}.", where,
            "Cast it in the query. Nothing was written.",
        )  # fmt: skip


def _parsed(rows: pa.Table) -> Parsed:
    columns = {name: plain(rows[name]) for name in rows.column_names}
    # The database says of every column what it is, of one that holds nothing too.
    return parsed_rows(columns, lambda name: kind_of(columns[name]) or "string", rows.num_rows)
