"""Which partitions of which tables failed their newest attempt: a small SQLite file in the state folder."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mosaic_resources.errors import UserError

__all__ = ["Refusal", "Verdicts", "Window"]

Window = tuple[datetime, datetime]
SCHEMA = """
create table if not exists refusal (
  "table" text, partition text, rule text, reason text, run_id text, at_utc text, version integer,
  window_start text, window_end text, primary key ("table", partition)
) without rowid
"""


@dataclass(frozen=True)
class Refusal:
    """A partition whose newest attempt failed a blocking check; the table holds what was there before.

    Args:
        table: Table.
        partition: Partition key; empty for a table without partitions.
        rule: Check that failed.
        reason: What it found.
        run_id: Run of the attempt.
        at_utc: When.
        version: Newest version of the table then; -1 where there was none.
        window: Start and end of a partition of time, UTC.
    """

    table: str
    partition: str
    rule: str
    reason: str
    run_id: str
    at_utc: datetime
    version: int
    window: Window | None = None

    def concerns(self, version: int, partitions: Sequence[str], windows: Mapping[str, Window]) -> bool:
        """Returns whether a reader of ``version`` for these partitions of its own would read what was refused.

        Args:
            version: Version that is read; an older one than the refusal is as good as it was.
            partitions: The reader's partitions; none: it reads all.
            windows: The reader's partition → start and end, where they are times.
        """
        if version < self.version:
            return False
        if not partitions or not self.partition or bool(self.window) != bool(windows):
            return True
        if self.window is None:
            return self.partition in partitions
        start, end = self.window
        return any(start < other_end and other_start < end for other_start, other_end in windows.values())

    def error(self, reader: str) -> UserError:
        """Returns the error that a reader gets."""
        which = f" --partition {self.partition}" if self.partition else ""
        what = f"Partition {self.partition} of table" if self.partition else "Table"
        return UserError(
            f"{what} '{self.table}' failed '{self.rule}' at {self.at_utc:%Y-%m-%d %H:%M} UTC (run {self.run_id[:8]}); "
            f"what it holds is from before. {self.reason}",
            reader,
            f"Mend the rows or the rule, then run 'mosaic materialize {self.table}{which}'.",
        )


class Verdicts:
    """The partitions that are refused. Only failures are kept; a success takes them away.

    Args:
        file: SQLite file; made with the first failure.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def failed(self, refusals: Sequence[Refusal]) -> None:
        """Records failures; each replaces an earlier one of its partition."""
        rows = [
            (r.table, r.partition, r.rule, r.reason, r.run_id, r.at_utc.isoformat(), r.version,
             *(moment.isoformat() for moment in r.window or ()), *(() if r.window else (None, None)))
            for r in refusals
        ]  # fmt: skip
        with self._open() as connection:
            connection.executemany("insert or replace into refusal values (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def passed(self, table: str, partitions: Sequence[str]) -> None:
        """Records that the newest attempts of these partitions succeeded; none: of the whole table."""
        if not self._file.exists():
            return
        with self._open() as connection:
            if not partitions:
                connection.execute('delete from refusal where "table" = ?', (table,))
            connection.executemany(
                'delete from refusal where "table" = ? and partition = ?', [(table, key) for key in partitions]
            )

    def refusals(self, table: str) -> list[Refusal]:
        """Returns the partitions of a table that are refused."""
        if not self._file.exists():
            return []
        with self._open() as connection:
            rows = connection.execute('select * from refusal where "table" = ? order by partition', (table,)).fetchall()
        return [_refusal(row) for row in rows]

    def check(
        self, table: str, version: int, reader: str, partitions: Sequence[str], windows: Mapping[str, Window]
    ) -> None:
        """Ensures that a reader reads nothing whose newest attempt failed.

        Args:
            table: Table to read.
            version: Version to read; -1 where the table does not exist.
            reader: Asset that reads, for the error.
            partitions: The reader's partitions.
            windows: Their times.

        Raises:
            UserError: A partition that it reads was refused; the error names table, partition, rule, what to do.
        """
        for refusal in self.refusals(table):
            if refusal.concerns(version, partitions, windows):
                raise refusal.error(reader)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._file, timeout=30)) as connection, connection:
            connection.execute("pragma journal_mode = wal")
            connection.execute(SCHEMA)
            yield connection


def _refusal(row: tuple[Any, ...]) -> Refusal:
    table, partition, rule, reason, run_id, at, version, start, end = row
    window = (datetime.fromisoformat(start), datetime.fromisoformat(end)) if start else None
    return Refusal(table, partition, rule, reason, run_id, datetime.fromisoformat(at), version, window)
