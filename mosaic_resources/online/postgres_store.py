"""PostgreSQL: features in one table of a database that a site runs anyway.

A merge is one transaction. New keys are inserted; the others are locked, in the order of their keys so that two
writers cannot wait for each other, then merged and updated: neither writer takes a row back in time.
"""

import os
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mosaic_resources.errors import DependencyError, InternalError, UserError, missing_extra
from mosaic_resources.online.address import WAIT_SECONDS, shown_address
from mosaic_resources.online.blob import merge_newest, rows_of
from mosaic_resources.online.layout import BlobLayout, Rows

__all__ = ["PostgresStore"]

# Writers may wait for each other's locks and write many rows; readers wait for nobody.
WRITE_SECONDS = 60.0
CREATE_LOCK = 0x6D6F7361
CREATE = "create table if not exists mosaic_online (key bytea primary key, row bytea not null)"
READ = "select key, row from mosaic_online where key = any(%b::bytea[])"
INSERT = """insert into mosaic_online (key, row) select * from unnest(%b::bytea[], %b::bytea[])
    on conflict (key) do nothing returning key"""
LOCK = "select key, row from mosaic_online where key = any(%b::bytea[]) order by key for update"
UPDATE = """update mosaic_online set row = new.row from unnest(%b::bytea[], %b::bytea[]) as new (key, row)
    where mosaic_online.key = new.key"""


class PostgresStore:
    """An ``OnlineStore`` in the table ``mosaic_online``: ``postgresql://[user:password@]host:port/database``.

    Args:
        address: The database.
        read_only: Whether this process only reads; the table must exist then.

    Raises:
        UserError: The address is malformed.
        DependencyError: The package is not installed, or the server does not answer within ``WAIT_SECONDS``.
    """

    waits = True

    def __init__(self, address: str, *, read_only: bool = False) -> None:
        try:
            import psycopg
        except ImportError as exc:
            raise missing_extra("psycopg", "postgres") from exc
        self._psycopg: Any = psycopg
        self._address, self._shown, self._read_only = address, shown_address(address), read_only
        self._idle: list[Any] = []
        self._pid, self._lock = os.getpid(), threading.Lock()
        with self._connection() as connection:
            if read_only:
                connection.execute("select from mosaic_online limit 0")
            else:
                connection.execute("select pg_advisory_xact_lock(%s)", [CREATE_LOCK])
                connection.execute(CREATE)

    def __repr__(self) -> str:
        return f"PostgresStore('{self._shown}')"

    def read(self, layout: BlobLayout, keys: Sequence[bytes | None]) -> list[bytes | None]:
        """See ``OnlineStore``."""
        full = [None if key is None else layout.schema_id + key for key in keys]
        wanted = list({key for key in full if key is not None})
        with self._connection() as connection:
            found = dict(connection.execute(READ, [wanted], binary=True).fetchall())
        return [None if key is None else found.get(key) for key in full]

    def merge(self, layout: BlobLayout, keys: Sequence[bytes], rows: Rows) -> int:
        """See ``OnlineStore``."""
        if self._read_only:
            raise InternalError(f"The online store '{self._shown}' is open for reading.")
        given = {layout.schema_id + key: row for key, row in zip(keys, rows, strict=True)}
        full = sorted(given)
        with self._connection() as connection:
            new = connection.execute(INSERT, [full, [given[key].tobytes() for key in full]], binary=True).fetchall()
            num_new = sum(bool(given[key].tobytes() != layout.absent) for (key,) in new)
            inserted = {key for (key,) in new}
            known = [key for key in full if key not in inserted]
            locked = connection.execute(LOCK, [known], binary=True).fetchall() if known else []
            old = rows_of(layout, [blob for _, blob in locked])
            incoming = rows_of(layout, [given[key].tobytes() for key, _ in locked])
            merged = [row.tobytes() for row in merge_newest(layout, old, incoming)]
            changed = [(key, now) for (key, was), now in zip(locked, merged, strict=True) if was != now]
            if changed:
                connection.execute(UPDATE, [[key for key, _ in changed], [blob for _, blob in changed]])
        return num_new + len(changed)

    def close(self) -> None:
        """See ``OnlineStore``."""
        with self._lock:
            idle, self._idle = self._idle, []
        if self._pid == os.getpid():
            for connection in idle:
                connection.close()

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        """Yields a connection in a transaction; it is kept for the next use if all went well."""
        with self._errors():
            connection = self._take()
            try:
                with connection.transaction():
                    yield connection
            except BaseException:
                connection.close()
                raise
            with self._lock:
                self._idle.append(connection)

    def _take(self) -> Any:
        with self._lock:
            if self._pid != os.getpid():  # Forked: the parent's connections are not ours.
                self._idle, self._pid = [], os.getpid()
            while self._idle:
                connection = self._idle.pop()
                if not self._is_gone(connection):
                    return connection
        return _connect(self._psycopg, self._address, read_only=self._read_only)

    def _is_gone(self, connection: Any) -> bool:
        """Returns whether the server closed an idle connection: its socket can be read, and there is nothing to say."""
        import select

        try:
            poll = select.poll()
            poll.register(connection.fileno(), select.POLLIN)
            gone = bool(connection.closed or poll.poll(0))
        except self._psycopg.OperationalError:
            return True
        if gone:
            connection.close()
        return gone

    @contextmanager
    def _errors(self) -> Iterator[None]:
        errors = self._psycopg.errors
        try:
            yield
        except errors.UndefinedTable as exc:
            raise DependencyError(
                "The online store has no table yet.", self._shown, "Materialize a feature view first."
            ) from exc
        except self._psycopg.Error as exc:
            if type(exc) is self._psycopg.ProgrammingError:  # Its text may hold the password, so it is not shown.
                raise UserError(
                    "The address is malformed.", f"online store '{self._shown}'", "Write postgresql://host:port/name."
                ) from None
            raise DependencyError(
                f"The online store does not serve: {str(exc).strip()}.",
                self._shown,
                "Start the server, or correct the address, the password or the rights.",
            ) from exc


def _connect(psycopg: Any, address: str, *, read_only: bool) -> Any:
    seconds = WAIT_SECONDS if read_only else WRITE_SECONDS

    class Bounded(psycopg.Connection):  # type: ignore[misc]
        """A connection that gives up on a server that accepts and never answers."""

        def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
            return super().wait(_bounded(gen, seconds, psycopg.OperationalError), *args, **options)

    connection = Bounded.connect(
        address, connect_timeout=int(WAIT_SECONDS), autocommit=True, application_name="mosaic online store"
    )
    connection.read_only = read_only
    return connection


def _bounded(gen: Any, seconds: float, error: type[Exception]) -> Generator[Any, Any, Any]:
    """Passes a protocol generator on, until it has waited too long in all."""
    deadline = time.monotonic() + seconds
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > deadline:
                raise error(f"no answer within {seconds:g} seconds")
            wanted = gen.send(ready)
    except StopIteration as end:
        return end.value
