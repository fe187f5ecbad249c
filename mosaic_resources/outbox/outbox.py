"""A queue of lineage events in one SQLite file: a step inserts a row and goes on, a drainer sends it later.

Rows are kept after they were sent: the way from a prediction back to its files is a walk over them.
A commit survives the death of the process at any point, not a power cut (WAL, ``synchronous = normal``).
"""

import os
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mosaic_resources.errors import DependencyError, UserError

__all__ = ["DatasetRef", "NewEvent", "Outbox", "StoredEvent"]

FORMAT = 1
# Moving the log into the file syncs the disk (milliseconds): the drainer does it; steps only from 40 MB on.
CHECKPOINT_PAGES = 10_000
SCHEMA = f"""
create table event (
  id integer primary key autoincrement, run_id text not null, event_type text not null, event_utc text not null,
  body text not null, crc integer not null, sent_utc text, refusal text
);
create index event_waiting on event (id) where sent_utc is null and refusal is null;
create table use (
  namespace text not null, name text not null, is_output integer not null, event_id integer not null, version text,
  primary key (namespace, name, is_output, event_id, version)
) without rowid;
pragma user_version = {FORMAT};
"""
COLUMNS = "id, run_id, event_type, event_utc, body, crc"


@dataclass(frozen=True)
class DatasetRef:
    """A dataset that an event names, for finding the event again."""

    namespace: str
    name: str
    version: str | None
    is_output: bool


@dataclass(frozen=True)
class NewEvent:
    """An event to keep and send.

    Args:
        run_id: Run that it is about; with ``event_type`` it tells a receiver that a resend is one.
        event_type: START, COMPLETE or FAIL.
        event_utc: When, ISO 8601.
        body: The event as JSON.
        datasets: What it names.
    """

    run_id: str
    event_type: str
    event_utc: str
    body: str
    datasets: Sequence[DatasetRef] = ()


@dataclass(frozen=True)
class StoredEvent:
    """A kept event and its order number."""

    id: int
    run_id: str
    event_type: str
    event_utc: str
    body: str


class Outbox:
    """The queue. Opened at the first use; usable from any thread and after a fork.

    Args:
        file: SQLite file; its folder is made.
        timeout_seconds: Longest wait for another writer.
    """

    def __init__(self, file: Path, timeout_seconds: float = 5.0) -> None:
        self.file, self._timeout = Path(file), timeout_seconds
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._pid = 0
        self._abandoned: list[sqlite3.Connection] = []

    @property
    def exists(self) -> bool:
        """Whether anything was ever kept."""
        return self.file.is_file()

    def add(self, events: Sequence[NewEvent]) -> None:
        """Keeps events, in order, in one commit.

        Raises:
            UserError: The file is damaged.
            DependencyError: The disk refuses, or another writer held the file for too long.
        """
        with self._transaction() as connection:
            for event in events:
                row = (event.run_id, event.event_type, event.event_utc, event.body)
                cursor = connection.execute(
                    "insert into event (run_id, event_type, event_utc, body, crc) values (?, ?, ?, ?, ?)",
                    (*row, _crc(*row)),
                )
                uses = ((d.namespace, d.name, d.is_output, cursor.lastrowid, d.version or "") for d in event.datasets)
                connection.executemany("insert or ignore into use values (?, ?, ?, ?, ?)", uses)

    def waiting(self, limit: int = 100) -> list[StoredEvent]:
        """Returns the oldest events that are neither sent nor refused, in order."""
        return self._read(
            f"select {COLUMNS} from event where sent_utc is null and refusal is null order by id limit ?", limit
        )

    def backlog(self) -> int:
        """Returns the number of events that wait."""
        with self._transaction() as connection:
            query = "select count(*) from event where sent_utc is null and refusal is null"
            return int(connection.execute(query).fetchone()[0])

    def mark_sent(self, ids: Sequence[int], now_utc: datetime | None = None) -> None:
        """Records that events have arrived."""
        when = (now_utc or datetime.now(UTC)).isoformat()
        with self._transaction() as connection:
            connection.executemany("update event set sent_utc = ? where id = ?", [(when, id_) for id_ in ids])

    def mark_refused(self, id_: int, reason: str) -> None:
        """Records that the receiver will never take an event; it is kept, but no longer stands in the way."""
        with self._transaction() as connection:
            connection.execute("update event set refusal = ? where id = ?", (reason[:500], id_))

    def replay(self, after_id: int = 0) -> int:
        """Makes the events after an order number wait again; returns how many."""
        with self._transaction() as connection:
            query = "update event set sent_utc = null, refusal = null where id > ?"
            return int(connection.execute(query, (after_id,)).rowcount)

    def events(self, run_id: str | None = None) -> list[StoredEvent]:
        """Returns all events, or those of one run, in order."""
        if run_id is None:
            return self._read(f"select {COLUMNS} from event order by id")
        return self._read(f"select {COLUMNS} from event where run_id = ? order by id", run_id)

    def naming(self, namespace: str, name: str, *, as_output: bool) -> list[StoredEvent]:
        """Returns the events that name a dataset as output (or as input), in order."""
        query = (
            f"select {COLUMNS} from use join event on id = event_id where namespace = ? and name = ? and is_output = ?"
        )
        return self._read(f"{query} group by id order by id", namespace, name, as_output)

    def datasets(self) -> list[tuple[str, str]]:
        """Returns the (namespace, name) of every dataset that an event names."""
        with self._transaction() as connection:
            query = "select distinct namespace, name from use order by 1, 2"
            return [(row[0], row[1]) for row in connection.execute(query)]

    def settle(self) -> None:
        """Moves the log into the file, as far as nobody reads; called where waiting for the disk does no harm."""
        with self._transaction() as connection:
            connection.execute("pragma wal_checkpoint(passive)")

    def check(self) -> int:
        """Returns the number of events after checking every page and every row of the file.

        Raises:
            UserError: The file is damaged.
        """
        with self._transaction() as connection:
            verdict = connection.execute("pragma integrity_check").fetchone()[0]
        if verdict != "ok":
            raise _damaged(self.file, verdict)
        return len(self.events())

    def close(self) -> None:
        """Closes the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    def _read(self, query: str, *values: object) -> list[StoredEvent]:
        with self._transaction() as connection:
            rows = connection.execute(query, values).fetchall()
        for row in rows:
            if _crc(*row[1:5]) != row[5]:
                raise _damaged(self.file, f"event {row[0]} does not match its checksum")
        return [StoredEvent(*row[:5]) for row in rows]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                connection = self._open()
                with connection:
                    yield connection
            except sqlite3.OperationalError as exc:
                raise DependencyError(f"The lineage outbox cannot be used: {exc}.", str(self.file)) from exc
            except (sqlite3.DatabaseError, UnicodeDecodeError) as exc:
                raise _damaged(self.file, str(exc)) from exc

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and self._pid == os.getpid():
            return self._connection
        if self._connection is not None:  # Inherited over a fork: closing it here would drop the parent's locks.
            self._abandoned.append(self._connection)
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise DependencyError(f"The folder cannot be made: {exc.strerror}.", str(self.file.parent)) from exc
        connection = sqlite3.connect(self.file, timeout=self._timeout, check_same_thread=False)
        try:
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = normal")
            connection.execute(f"pragma wal_autocheckpoint = {CHECKPOINT_PAGES}")
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._connection, self._pid = connection, os.getpid()
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Makes the tables in one transaction, whichever of two processes comes first."""
        if _format(connection) == 0:
            connection.execute("begin immediate")
            if _format(connection) == 0:
                for statement in SCHEMA.split(";"):
                    connection.execute(statement)
            connection.commit()
        if _format(connection) != FORMAT:
            raise UserError(
                f"The outbox has format {_format(connection)}, this version reads {FORMAT}.",
                str(self.file),
                "Move it away.",
            )


def _format(connection: sqlite3.Connection) -> int:
    return int(connection.execute("pragma user_version").fetchone()[0])


def _crc(*parts: object) -> int:
    return zlib.crc32("\0".join(map(str, parts)).encode())  # a damaged row may hold anything


def _damaged(file: Path, why: str) -> UserError:
    return UserError(
        f"The lineage outbox is damaged: {why}.", str(file), "Move it away; a new one is made. No table is affected."
    )
