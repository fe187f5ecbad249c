"""Incremental ingest: every row of every landed file is in the raw table exactly once."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import filelock
import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.tables.evolution import Layout, kept_columns
from mosaic_assets.tables.landing import Landing, LocalLanding, discover
from mosaic_assets.tables.ledger import LandedFile, Ledger
from mosaic_assets.tables.source import FileSource
from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.lake import Lake
from mosaic_resources.errors import UserError

__all__ = ["ChangedFiles", "IngestReport", "discover", "ingest"]

ChangedFiles = Literal["ignore", "reload", "fail"]
COMMITS_LOOKED_BACK = 100
INGESTED_AT = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class IngestReport:
    """What one ingest did.

    Args:
        files: Paths read in this run.
        num_rows: Rows appended.
        num_known_files: Files that were in the table before.
        changed: Files that changed after they were read and are not read again.
        reloaded: Files that changed after they were read and whose rows were replaced.
        added: Columns that the table got.
        empty: Files of this run without a row.
        num_rescued: Rows appended of which something did not fit.
        version: Version of the table now; None while no file has landed.
    """

    files: tuple[str, ...]
    num_rows: int
    num_known_files: int
    changed: tuple[str, ...]
    version: int | None
    empty: tuple[str, ...] = ()
    reloaded: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    num_rescued: int = 0


def ingest(
    lake: Lake,
    ledger: Ledger,
    table: str,
    landing: Path | Landing,
    pattern: str,
    *,
    source: FileSource,
    now_utc: datetime,
    commit: Commit,
    changed_files: ChangedFiles = "ignore",
    barrier: Callable[[str], None] = lambda name: None,
) -> IngestReport:
    """Appends the rows of new files to ``table`` in one commit.

    The number of the batch is the table's own ``txn`` version, so rows and number land together. Where the
    ledger does not know that number (a kill after the commit, another machine, a lost ledger), the ledger is
    rebuilt from the table's ``_source_file`` before anything is read. A file that held nothing is read when it does.

    Args:
        lake: Where the table is.
        ledger: The files that are known to be in it.
        table: Table name.
        landing: Where files land; a path is a local folder.
        pattern: Files of this table, relative to the folder.
        source: How the files are read.
        now_utc: Time of ingestion.
        commit: Who commits.
        changed_files: What becomes of a file that changed after it was read.
        barrier: Called as each step is done, with its name: ``listed``, ``parsed``, ``committed``, ``settled``.

    Raises:
        UserError: A file is unreadable or does not fit the table, or changed where it may not; nothing is written.
    """
    place: Landing = LocalLanding(landing) if isinstance(landing, Path) else landing
    found: dict[str, LandedFile] = {}
    reload = changed_files == "reload"
    batch: dict[str, LandedFile] = {}
    known: dict[str, LandedFile] = {}
    changed: list[str] = []
    layouts: list[Layout] = []
    empty: list[str] = []
    num_rescued = 0
    touched: dict[str, LandedFile] = {}

    def read(last: int) -> tuple[pa.Table | None, int]:
        nonlocal num_rescued
        if ledger.settled(table) != last:
            _rebuild(lake, ledger, table, last, found)
        known.clear()
        recorded = ledger.files(table).items()
        has_rows = source.hash_column is not None  # A file that is a row has one though it holds nothing.
        known.update((path, file) for path, file in recorded if has_rows or file.size_bytes or found.get(path) == file)
        changed[:] = [path for path, file in found.items() if path in known and known[path] != file]
        if changed and changed_files == "fail":
            raise UserError(
                f"{len(changed)} file(s) changed after they were read, the first is '{changed[0]}'.", table,
                "Land a change as a new file, or set changed_files: reload.",
            )  # fmt: skip
        again = set(changed) if reload else set()
        batch.clear()
        batch.update({path: file for path, file in found.items() if path not in known or path in again})
        if not batch:
            return None, last
        stored = lake.schema(table) if lake.exists(table) else None
        kept = None if stored is None else kept_columns(stored, source.rescued)
        with place.local(list(batch)) as folder:
            rows, layout = source.read(folder, list(batch), kept, table)
        layouts[:] = [layout]
        same = _same(lake, table, rows, source.hash_column, sorted(again & batch.keys()))
        if same:
            touched.update({path: batch.pop(path) for path in same})
            changed[:] = [path for path in changed if path not in same]
            rows = rows.filter(pc.invert(pc.is_in(rows["_source_file"], pa.array(sorted(same)))))
            if not batch:
                return None, last
        num_rescued = rows.num_rows - rows[source.rescued].null_count if source.rescued in rows.column_names else 0
        filled = set(rows["_source_file"].unique().to_pylist())
        empty[:] = [path for path in batch if path not in filled]
        ledger.prepare(table, commit.token, batch.values())
        barrier("parsed")
        return rows.append_column("_ingested_at", pa.repeat(pa.scalar(now_utc, INGESTED_AT), rows.num_rows)), last + 1

    lock = filelock.FileLock(f"{ledger.file}.{table.replace('/', '.')}.lock")
    with lock:
        found.update(place.discover(pattern))
        barrier("listed")
        num_rows = lake.append_stream(
            table, f"ingest/{table}", read, commit=commit, evolve=True,
            replaced=(lambda: _from_files(batch) if changed else None) if reload else None,
        )  # fmt: skip
        barrier("committed")
        if batch:
            ledger.settle(table, ledger.settled(table) + 1, batch.values())
        if touched:
            ledger.settle(table, ledger.settled(table), touched.values())
        barrier("settled")
    added = layouts[0].added if layouts else ()
    passed_over, reloaded = ((), tuple(changed)) if reload else (tuple(changed), ())
    return IngestReport(
        tuple(batch), num_rows, len(known), passed_over, lake.version(table), tuple(empty), reloaded, added, num_rescued
    )


def _same(lake: Lake, table: str, rows: pa.Table, hash_column: str | None, again: Sequence[str]) -> set[str]:
    """Returns those of the files ``again`` whose rows in the table have the hash that they have now."""
    if hash_column is None or not again:
        return set()
    names = ["_source_file", hash_column]
    held = lake.read(table, columns=names, filters=[("_source_file", "in", list(again))])
    known, now = (dict(zip(*(one[name].to_pylist() for name in names), strict=True)) for one in (held, rows))
    return {path for path in again if known.get(path) == now[path]}


def _from_files(paths: Iterable[str]) -> str:
    """Returns the condition of the rows of files. All rows that are written must meet it, so it names new files too."""
    names = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
    return f"_source_file in ({names})"


def _rebuild(lake: Lake, ledger: Ledger, table: str, last: int, found: dict[str, LandedFile]) -> None:
    paths = (
        lake.read(table, columns=["_source_file"])["_source_file"].unique().to_pylist() if lake.exists(table) else []
    )
    # What a file was like when it was read is known of those that were recorded, and of those that were prepared
    # for a commit that landed.
    token, prepared = ledger.prepared(table)
    landed = bool(token) and any(token in str(entry) for entry in lake.history(table, COMMITS_LOOKED_BACK))
    told = {**found, **ledger.files(table), **(prepared if landed else {})}
    ledger.forget(table)
    ledger.settle(table, last, [told.get(path, LandedFile(path, -1, -1)) for path in paths])
