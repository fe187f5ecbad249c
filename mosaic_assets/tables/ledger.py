"""Which landed files are in which table: a cache on local disk of what the tables themselves say."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

__all__ = ["LandedFile", "Ledger"]

SCHEMA = """
create table if not exists file (
  "table" text, path text, size_bytes integer, mtime_ns integer, batch integer, primary key ("table", path)
) without rowid;
create table if not exists prepared (
  "table" text, token text, path text, size_bytes integer, mtime_ns integer, primary key ("table", path)
) without rowid;
create table if not exists batch ("table" text primary key, settled integer) without rowid;
"""


class LandedFile(NamedTuple):
    """One file in the landing folder.

    Args:
        path: Path relative to the landing folder, with ``/``.
        size_bytes: Size when it was found.
        mtime_ns: Modification time when it was found.
    """

    path: str
    size_bytes: int
    mtime_ns: int


class Ledger:
    """The files of every table by path. Losing it loses nothing: it is rebuilt from ``_source_file``.

    Args:
        file: SQLite file.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as connection:
            connection.executescript(SCHEMA)

    def settled(self, table: str) -> int:
        """Returns the newest batch whose files are known to be in the table; 0 at first."""
        with self._open() as connection:
            row = connection.execute('select settled from batch where "table" = ?', (table,)).fetchone()
            return int(row[0]) if row else 0

    def files(self, table: str) -> dict[str, LandedFile]:
        """Returns the files in the table, by path."""
        with self._open() as connection:
            rows = connection.execute('select path, size_bytes, mtime_ns from file where "table" = ?', (table,))
            return {row[0]: LandedFile(*row) for row in rows}

    def prepared(self, table: str) -> tuple[str, dict[str, LandedFile]]:
        """Returns the token and the files of a batch of which it is not known whether it was committed."""
        with self._open() as connection:
            rows = connection.execute(
                'select token, path, size_bytes, mtime_ns from prepared where "table" = ?', (table,)
            ).fetchall()
        return (rows[0][0] if rows else ""), {row[1]: LandedFile(*row[1:]) for row in rows}

    def prepare(self, table: str, token: str, files: Iterable[LandedFile]) -> None:
        """Records what ``files`` were like before their rows are committed under ``token``."""
        with self._open() as connection:
            connection.execute('delete from prepared where "table" = ?', (table,))
            rows = ((table, token, *file) for file in files)
            connection.executemany("insert into prepared values (?, ?, ?, ?, ?)", rows)

    def settle(self, table: str, batch: int, files: Iterable[LandedFile]) -> None:
        """Records that ``files`` are in the table as of ``batch``, in one transaction."""
        with self._open() as connection:
            rows = ((table, file.path, file.size_bytes, file.mtime_ns, batch) for file in files)
            connection.executemany("insert or replace into file values (?, ?, ?, ?, ?)", rows)
            connection.execute("insert or replace into batch values (?, ?)", (table, batch))
            connection.execute('delete from prepared where "table" = ?', (table,))

    def forget(self, table: str) -> None:
        """Drops what is known of a table."""
        with self._open() as connection:
            connection.execute('delete from file where "table" = ?', (table,))
            connection.execute('delete from batch where "table" = ?', (table,))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.file, timeout=30)) as connection, connection:
            connection.execute("pragma journal_mode = wal")
            yield connection
