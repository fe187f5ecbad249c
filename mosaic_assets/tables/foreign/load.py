"""A Delta table of another lake: mirrored version by version, or followed change by change."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from mosaic_resources.delta.commit import Commit, open_table
from mosaic_resources.delta.lake import ALL_ROWS, Lake
from mosaic_resources.delta.reading import dataset_of, read_dataset
from mosaic_resources.delta.schema import canonical
from mosaic_resources.delta.writers import refuse_foreign_features
from mosaic_resources.errors import DependencyError, UserError

__all__ = ["FollowReport", "follow"]

INGESTED_AT = pa.timestamp("us", tz="UTC")
FEED = "delta.enableChangeDataFeed"


@dataclass(frozen=True)
class FollowReport:
    """What one load did.

    Args:
        num_rows: Rows written.
        source_version: Version of the other table that is read now.
        version: Version of the table.
    """

    num_rows: int
    source_version: int
    version: int


def follow(
    lake: Lake,
    table: str,
    address: str,
    options: Mapping[str, str],
    *,
    changes: bool,
    now_utc: datetime,
    commit: Commit,
    barrier: Callable[[str], None] = lambda name: None,
) -> FollowReport:
    """Brings what is new in another table into ``table``, in one commit that keeps how far it came.

    The version that was read, plus one, is the offset in the table's own ``txn``.

    Args:
        lake: Where the table is.
        table: Table name.
        address: The other table.
        options: Options of its store, opened.
        changes: Whether its changed rows are appended, with what became of each; else each new version replaces all.
        now_utc: Time of ingestion.
        commit: Who commits.
        barrier: Called as each step is done, with its name: ``read``, ``committed``.

    Raises:
        UserError: There is no such table, it went back, or it does not keep its changes; nothing is written.
        DependencyError: Its files cannot be read.
    """
    app = f"{'changes' if changes else 'mirror'}/{table}"
    handle = _opened(address, options)
    if changes and handle.metadata().configuration.get(FEED) != "true":
        raise UserError(f"The other table does not keep its changes ({address}).", table, f"Set {FEED} there to true.")
    newest = handle.version()
    is_first = True

    def read(last: int) -> tuple[pa.Table | None, int]:
        nonlocal is_first
        is_first = not last
        if newest + 1 < last:
            raise UserError(
                f"The other table is at version {newest}, but version {last - 1} was read: it was made anew.", table,
                "Remove this table, then run again.",
            )  # fmt: skip
        if newest + 1 == last:
            return None, last
        try:
            rows = _changes(handle, last, newest, table) if changes and last else _snapshot(handle, address, changes)
        except (OSError, DeltaError) as exc:
            raise DependencyError(
                f"The other table cannot be read: {_first_line(exc)}", table, f"See {address}."
            ) from exc
        barrier("read")
        if changes and last and not rows.num_rows:
            return None, last  # Only files were rewritten: the next run looks at these versions again.
        rows = rows.append_column("_source_file", pa.repeat(f"{address}@{newest}", rows.num_rows))
        stamped = rows.append_column("_ingested_at", pa.repeat(pa.scalar(now_utc, INGESTED_AT), rows.num_rows))
        return canonical(stamped, table), newest + 1

    num_rows = lake.append_stream(
        table, app, read, commit=replace(commit, app=app), evolve=True,
        replaced=lambda: ALL_ROWS if is_first or not changes else None,
    )  # fmt: skip
    barrier("committed")
    return FollowReport(num_rows, newest, lake.open(table).version())


def _opened(address: str, options: Mapping[str, str]) -> DeltaTable:
    try:
        handle = open_table(address, dict(options) or None)
    except (DeltaError, OSError) as exc:
        raise UserError(
            f"The other table cannot be opened: {_first_line(exc)}", address, "Check its options."
        ) from None
    if handle is None:
        raise UserError("There is no Delta table.", address, "Check the address.")
    refuse_foreign_features(handle, address)
    return handle


def _snapshot(handle: DeltaTable, address: str, changes: bool) -> pa.Table:
    is_local = "://" not in address
    rows = read_dataset(dataset_of(handle, address if is_local else None), None, None, is_local=is_local)
    if not changes:
        return rows
    told: dict[str, Any] = {"_change_type": "insert", "_commit_version": handle.version(), "_commit_timestamp": None}
    kinds = (pa.string(), pa.int64(), INGESTED_AT)
    for (name, value), kind in zip(told.items(), kinds, strict=True):
        rows = rows.append_column(name, pa.repeat(pa.scalar(value, kind), rows.num_rows))
    return rows


def _changes(handle: DeltaTable, start: int, end: int, where: str) -> pa.Table:
    try:
        feed = handle.load_cdf(starting_version=start, ending_version=end)
    except DeltaError as exc:
        told = f"The changes from version {start} to {end} are not kept: {_first_line(exc)}"
        raise UserError(told, where, "Remove this table to begin anew, or set changes: false.") from exc
    try:
        rows = pa.table(feed.read_all())
    except Exception as exc:  # What fails while rows are read has no class of its own.
        told = f"The changes from version {start} to {end} cannot be read: {_first_line(exc)}"
        raise DependencyError(told, where, "Were its files vacuumed? Remove this table to begin anew.") from exc
    kinds = {"_commit_version": pa.int64(), "_commit_timestamp": INGESTED_AT}
    for name, kind in kinds.items():
        rows = rows.set_column(rows.column_names.index(name), name, rows[name].cast(kind))
    return rows


def _first_line(exc: Exception) -> str:
    text = (str(exc).strip().splitlines() or [type(exc).__name__])[0][:300]
    return text if text.endswith(".") else f"{text}."
