"""Rows that are asked for, not landed: all of them, or those from a cursor on, each in the raw table exactly once.

The cursor stands in the commit that brought the rows (``mosaic_note``), so one never goes on without the other. Rows
from the cursor on are asked for again, since others with the very same value may have come; those that the table holds
already are left out, row by row and counted, so that two equal rows stay two.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.tables.evolution import ADDED_BY_INGEST, Columns, Evolution, Layout, kept_columns
from mosaic_assets.tables.source import laid_out
from mosaic_assets.tables.sources.parsed import Parsed
from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.lake import ALL_ROWS, Lake
from mosaic_resources.errors import UserError

__all__ = ["CursorSource", "CursorValue", "LoadReport", "load", "parsed_rows"]

CursorValue = int | date | datetime
INGESTED_AT = pa.timestamp("us", tz="UTC")
CURSOR_KINDS = ("int", "bigint", "date", "timestamp")


@dataclass(frozen=True)
class CursorSource:
    """Rows that are asked for.

    Args:
        fetch: Returns the rows whose cursor is at least a value (all rows: None), in the source's own order. It may
            return older ones too.
        origin: Where they come from, without a secret; ``_source_file`` is this and the number of the load.
        columns: What is declared.
        mode: What becomes of columns that are not known.
        cursor: Column that grows; None: every load brings all rows, and they replace those of the table.
        lag: How far behind the cursor rows are asked for again, for those that came late: units of a number, days of
            a date, seconds of a time.
        rescued: Name of the rescue column.
    """

    fetch: Callable[[CursorValue | None], Parsed]
    origin: str
    columns: Columns
    mode: Evolution = "add_new_columns"
    cursor: str | None = None
    lag: float = 0
    rescued: str = "_rescued_data"


@dataclass(frozen=True)
class LoadReport:
    """What one load did.

    Args:
        num_rows: Rows that were written.
        num_fetched: Rows that the source gave.
        added: Columns that the table got.
        cursor: The cursor now, as text; None without one.
        version: Version of the table now.
    """

    num_rows: int
    num_fetched: int
    added: tuple[str, ...]
    cursor: str | None
    version: int


def load(
    lake: Lake,
    table: str,
    source: CursorSource,
    *,
    now_utc: datetime,
    commit: Commit,
    barrier: Callable[[str], None] = lambda name: None,
) -> LoadReport:
    """Brings the rows of a source into ``table`` in one commit.

    Without a cursor they replace what is there. With one the new ones are appended; the first load, and one after
    another column was made the cursor, replaces what is there.

    Args:
        lake: Where the table is.
        table: Table name.
        source: What is asked.
        now_utc: Time of ingestion.
        commit: Who commits.
        barrier: Called as each step is done, with its name: ``fetched``, ``laid_out``, ``committed``.

    Raises:
        UserError: A row has no cursor, a column cannot be one, or the rows do not fit the table; nothing is written.
    """
    app = f"load/{table}"
    told: dict[str, Any] = {"fetched": 0, "added": (), "cursor": None, "first": True}

    def read(last: int) -> tuple[pa.Table | None, int]:
        exists = lake.exists(table)
        note = lake.note(table, app, last) if exists and last else {}
        known = _decoded(note["value"]) if source.cursor and note.get("column") == source.cursor else None
        start = None if known is None else _back(known, source.lag, table)
        part = source.fetch(start)
        barrier("fetched")
        kept = kept_columns(lake.schema(table), source.rescued) if exists else None
        rows, layout = laid_out([part], source.columns, source.mode, kept, source.rescued, table)
        told.update(fetched=rows.num_rows, added=layout.added, first=start is None, cursor=note.get("value"))
        if source.cursor:
            _check_cursor(rows, layout, source.cursor, table)
            if known is not None and start is not None:
                rows = rows.filter(pc.greater_equal(rows[source.cursor], pa.scalar(start, rows[source.cursor].type)))
                rows = _unknown(rows, _held(lake, table, source, start, kept or {}, layout))
            told["cursor"] = _encoded(_furthest(rows[source.cursor], known))
        barrier("laid_out")
        if not rows.num_rows and exists and (start is not None or not lake.num_rows(table)):
            return None, last
        return _stamped(rows, f"{source.origin}#{last + 1}", now_utc), last + 1

    def noted() -> dict[str, str]:
        return {"column": source.cursor, "value": told["cursor"]} if source.cursor and told["cursor"] else {}

    num_rows = lake.append_stream(
        table, app, read, commit=replace(commit, app=app), evolve=True, noted=noted,
        replaced=lambda: ALL_ROWS if told["first"] else None,
    )  # fmt: skip
    barrier("committed")
    return LoadReport(num_rows, told["fetched"], told["added"], told["cursor"], lake.open(table).version())


def parsed_rows(
    columns: dict[str, pa.Array | pa.ChunkedArray], kind_of: Callable[[str], str | None], num_rows: int
) -> Parsed:
    """Returns the rows of one answer, numbered from 1."""
    numbers = pa.array(range(1, num_rows + 1), pa.int64())
    return Parsed(pa.nulls(num_rows, pa.string()), numbers, columns, kind_of, names_columns=False)


def _check_cursor(rows: pa.Table, layout: Layout, cursor: str, where: str) -> None:
    kind = layout.kinds.get(cursor)
    if kind not in CURSOR_KINDS:
        told = f"is {kind}" if kind else "is not among the columns"
        raise UserError(
            f"The cursor '{cursor}' {told}.", where, "A cursor is a whole number, a date or a time: cast it in the "
            "query, or declare it under 'columns'. Nothing was written.",
        )  # fmt: skip
    if rows[cursor].null_count:
        raise UserError(
            f"{rows[cursor].null_count} row(s) have no value in the cursor '{cursor}'.", where,
            "They could never be told from those that were read. Leave them out in the query. Nothing was written.",
        )  # fmt: skip


def _held(
    lake: Lake, table: str, source: CursorSource, start: CursorValue, kept: dict[str, str], layout: Layout
) -> pa.Table:
    """Returns what the table holds from ``start`` on, in the columns that tell one row from another."""
    # A column that is new now was NULL, or rescued, when these rows were read: it tells nothing of them.
    names = [*kept, *(() if layout.added else (source.rescued,))]
    return lake.read(table, columns=names, filters=[(source.cursor, ">=", start)])


def _unknown(rows: pa.Table, held: pa.Table) -> pa.Table:
    """Returns the rows that are not among ``held``; of a row that stands there n times, the first n are left out."""
    left = Counter(_texts(held))
    if not left:
        return rows
    fresh = []
    for text in _texts(rows.select(held.column_names)):
        fresh.append(left[text] <= 0)
        left[text] -= 1
    return rows.filter(pa.array(fresh, pa.bool_()))


def _texts(rows: pa.Table) -> Sequence[str]:
    # repr tells -0.0 from 0.0 and finds NaN equal to NaN.
    columns = [column.to_pylist() for column in rows.columns]
    return [repr(values) for values in zip(*columns, strict=True)]


def _stamped(rows: pa.Table, origin: str, now_utc: datetime) -> pa.Table:
    place = rows.column_names.index(ADDED_BY_INGEST[1])
    named = rows.set_column(place, ADDED_BY_INGEST[1], pa.repeat(origin, rows.num_rows))
    return named.append_column(ADDED_BY_INGEST[2], pa.repeat(pa.scalar(now_utc, INGESTED_AT), rows.num_rows))


def _furthest(column: pa.ChunkedArray, known: CursorValue | None) -> CursorValue | None:
    newest = pc.max(column).as_py() if len(column) else None
    values = [value for value in (newest, known) if value is not None]
    return max(values) if values else None


def _back(value: CursorValue, lag: float, where: str) -> CursorValue:
    try:
        if isinstance(value, datetime):
            return value - timedelta(seconds=lag)
        return value - timedelta(days=lag) if isinstance(value, date) else value - int(lag)
    except OverflowError as exc:
        raise UserError(f"The cursor lag {lag} reaches behind all times.", where) from exc


def _encoded(value: CursorValue | None) -> str | None:
    if value is None:
        return None
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)


def _decoded(text: str) -> CursorValue:
    if "T" in text:
        return datetime.fromisoformat(text)
    return date.fromisoformat(text) if "-" in text[1:] else int(text)
