"""Incremental ingest: every row of every landed file is in the raw table exactly once."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path

import filelock
import pyarrow as pa

from mosaic_assets.tables.ledger import LandedFile, Ledger
from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.lake import Lake
from mosaic_resources.errors import UserError

__all__ = ["IngestReport", "discover", "ingest"]


@dataclass(frozen=True)
class IngestReport:
    """What one ingest did.

    Args:
        files: Paths read in this run.
        num_rows: Rows appended.
        num_known_files: Files that were in the table before.
        changed: Files that changed after they were read; they are not read again.
        empty: Files of this run without a row.
        version: Version of the table now; None while no file has landed.
    """

    files: tuple[str, ...]
    num_rows: int
    num_known_files: int
    changed: tuple[str, ...]
    version: int | None
    empty: tuple[str, ...] = ()


def discover(landing: Path, pattern: str) -> dict[str, LandedFile]:
    """Returns the landed files that match ``pattern`` (relative, ``flights/*.csv``), by path.

    Hidden files, and files that a writer still holds under a name ending in ``.part``, are passed over.

    Raises:
        UserError: The landing folder does not exist.
    """
    if not landing.is_dir():
        raise UserError("The landing folder does not exist.", str(landing), "Make it, or set MOSAIC_LANDING.")
    found: dict[str, LandedFile] = {}
    for entry in _walk(landing):
        path = Path(entry.path).relative_to(landing).as_posix()
        if fnmatch(path, pattern):
            stat = entry.stat()
            found[path] = LandedFile(path, stat.st_size, stat.st_mtime_ns)
    return dict(sorted(found.items()))


def ingest(
    lake: Lake,
    ledger: Ledger,
    table: str,
    landing: Path,
    pattern: str,
    *,
    read_file: Callable[[Path], pa.Table],
    now_utc: datetime,
    commit: Commit,
    evolve: bool = False,
) -> IngestReport:
    """Appends the rows of new files to ``table`` in one commit.

    The number of the batch is the table's own ``txn`` version, so rows and number land together. Where the
    ledger does not know that number (a kill after the commit, another machine, a lost ledger), the ledger is
    rebuilt from the table's ``_source_file`` before anything is read. A file that held nothing is read when it does.

    Args:
        lake: Where the table is.
        ledger: The files that are known to be in it.
        table: Table name.
        landing: Landing folder.
        pattern: Files of this table, relative to the folder.
        read_file: Reads one file; returns its rows with ``_source_row``.
        now_utc: Time of ingestion.
        commit: Who commits.
        evolve: Whether new columns may be added to the table.

    Raises:
        UserError: A file is unreadable or does not fit the table; nothing is written.
    """
    found = discover(landing, pattern)
    batch: dict[str, LandedFile] = {}
    empty: list[str] = []
    app = f"ingest/{table}"

    def read(last: int) -> tuple[pa.Table | None, int]:
        if ledger.settled(table) != last:
            _rebuild(lake, ledger, table, last, found)
        known = {path: file for path, file in ledger.files(table).items() if file.size_bytes or found.get(path) == file}
        batch.clear()
        batch.update({path: file for path, file in found.items() if path not in known})
        if not batch:
            return None, last
        tables = {path: _rows(landing, path, read_file, now_utc) for path in batch}
        empty[:] = [path for path, rows in tables.items() if not rows.num_rows]
        return pa.concat_tables(list(tables.values()), promote_options="default"), last + 1

    lock = filelock.FileLock(f"{ledger.file}.{table.replace('/', '.')}.lock")
    with lock:
        known_before = len(ledger.files(table))
        num_rows = lake.append_stream(table, app, read, evolve=evolve, commit=commit)
        if batch:
            ledger.settle(table, ledger.settled(table) + 1, batch.values())
        known = ledger.files(table)
    changed = tuple(path for path, file in found.items() if path in known and known[path] != file)
    return IngestReport(tuple(batch), num_rows, known_before, changed, lake.version(table), tuple(empty))


def _rows(landing: Path, path: str, read_file: Callable[[Path], pa.Table], now_utc: datetime) -> pa.Table:
    rows = read_file(landing / path)
    when = pa.array([now_utc] * rows.num_rows, pa.timestamp("us", tz="UTC"))
    return rows.append_column("_source_file", pa.array([path] * rows.num_rows, pa.string())).append_column(
        "_ingested_at", when
    )


def _rebuild(lake: Lake, ledger: Ledger, table: str, last: int, found: dict[str, LandedFile]) -> None:
    ledger.forget(table)
    paths = (
        lake.read(table, columns=["_source_file"])["_source_file"].unique().to_pylist() if lake.exists(table) else []
    )
    ledger.settle(table, last, [found.get(path, LandedFile(path, -1, -1)) for path in paths])


def _walk(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name.endswith(".part"):
                continue
            if entry.is_dir():
                yield from _walk(Path(entry.path))
            elif entry.is_file():
                yield entry
