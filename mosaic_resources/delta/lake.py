"""The lake: a folder (or bucket) of Delta tables with one family of writers."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from mosaic_resources.delta.commit import Commit, commit_once, commit_stream, open_table
from mosaic_resources.delta.history import read_history
from mosaic_resources.delta.locks import hold_rewrites
from mosaic_resources.delta.notes import note_for, note_of
from mosaic_resources.delta.overlap import write_over_rewrites
from mosaic_resources.delta.reading import dataset_of, read_dataset
from mosaic_resources.delta.schema import canonical, check_fits
from mosaic_resources.delta.writers import Mode, Writer, refuse_foreign_features
from mosaic_resources.errors import UnknownNameError, UserError

__all__ = ["ALL_ROWS", "Lake", "Upsert"]

MARK = "_mosaic_lake.json"
GONE = "_gone"
ALL_ROWS = "true"


@dataclass(frozen=True)
class Upsert:
    """What a table lacks of what it follows.

    Args:
        added: Rows that it does not have.
        changed: Rows that it has with other values.
        gone: Rows that it should not have; only their keys count.
        offset: How far it has then followed.
        replaces_all: Whether ``added`` takes the place of the whole table.
    """

    added: pa.Table
    changed: pa.Table
    gone: pa.Table
    offset: int
    replaces_all: bool = False


class Lake:
    """Tables by name; every write is one commit, exactly once.

    Args:
        root: Folder or address of the tables.
        writer: The one family that commits here.
        storage_options: Credentials and endpoint of an object store.
    """

    def __init__(self, root: str, writer: Writer, storage_options: dict[str, str] | None = None) -> None:
        self.root, self.writer, self._storage_options = root.rstrip("/"), writer, storage_options
        self._check_family()

    def path(self, name: str) -> str:
        """Returns the address of table ``name`` (an asset key as text, ``tables/flights``)."""
        if not all(part and part not in (".", "..") and "\0" not in part for part in name.split("/")):
            raise UserError(f"'{name}' is no table name.", self.root, "Use letters, digits, '_' and '/'.")
        return f"{self.root}/{name}"

    def uri(self, name: str) -> str:
        """Returns the address with a scheme, as lineage tools name a dataset."""
        path = self.path(name)
        return path if "://" in path else f"file://{path}"

    def open(self, name: str, version: int | None = None) -> DeltaTable:
        """Returns a handle on a table that must exist.

        Raises:
            UserError: It does not exist, or has a feature that would read wrong.
        """
        handle = open_table(self.path(name), self._storage_options, version)
        if handle is None:
            raise UserError(f"Table '{name}' has no rows yet.", self.root, f"Materialize '{name}' first.")
        refuse_foreign_features(handle, name)
        return handle

    def exists(self, name: str) -> bool:
        """Returns whether the table has a first commit."""
        return open_table(self.path(name), self._storage_options) is not None

    def version(self, name: str) -> int | None:
        """Returns the newest version, or None where the table does not exist."""
        handle = open_table(self.path(name), self._storage_options)
        return None if handle is None else handle.version()

    def schema(self, name: str, version: int | None = None) -> pa.Schema:
        """Returns the Arrow schema of a version."""
        return pa.schema(self.open(name, version).schema().to_arrow())

    def read(
        self,
        name: str,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        filters: Any = None,
    ) -> pa.Table:
        """Returns rows of one version as Arrow.

        Args:
            name: Table.
            version: Delta version; default: the newest.
            columns: Columns to read; default: all.
            filters: A pyarrow dataset expression or DNF tuples, pushed down.
        """
        handle = self.open(name, version)
        known = [field.name for field in handle.schema().fields]
        for column in columns or ():
            if column not in known:
                raise UnknownNameError("column", column, known, name)
        rows = read_dataset(self._dataset(handle, name), columns, filters, is_local="://" not in self.root)
        return canonical(rows, name)

    def head(self, name: str, num_rows: int, version: int | None = None) -> pa.Table:
        """Returns the first rows of a version as they lie in its files, reading no more of them than it must."""
        return canonical(self._dataset(self.open(name, version), name).head(num_rows), name)

    def write(
        self,
        name: str,
        data: pa.Table,
        commit: Commit,
        *,
        mode: Mode = "overwrite",
        predicate: str | None = None,
        partition_by: Sequence[str] = (),
        evolve: bool = False,
    ) -> int:
        """Puts rows into a table in one commit and returns the table's version.

        Args:
            name: Table; made where it does not exist.
            data: The rows.
            commit: Who commits; a batch that is there already is not written again.
            mode: ``append`` or ``overwrite``.
            predicate: With ``overwrite``, only the rows that match are replaced, for instance ``month = '2013-01'``.
            partition_by: Partition columns of a new table.
            evolve: Whether new columns may be added.

        Raises:
            UserError: The rows do not fit the table.
            DependencyError: Others committed first at every attempt.
        """
        rows = canonical(data, name)
        path = self.path(name)

        def write(handle: DeltaTable, version: int) -> None:
            refuse_foreign_features(handle, name)
            if mode == "append" or predicate is not None:  # A table that is replaced whole takes the new schema.
                check_fits(rows.schema, pa.schema(handle.schema().to_arrow()), name, evolve=evolve)
            self._put(name, handle, rows, commit, version, mode=mode, predicate=predicate, evolve=evolve)

        with nullcontext() if mode == "append" else hold_rewrites(self.root, name):
            commit_once(lambda: self._open_or_create(path, rows.schema, partition_by), commit, write)
        return self.open(name).version()

    def append_stream(
        self,
        name: str,
        app: str,
        read: Callable[[int], tuple[pa.Table | None, int]],
        *,
        partition_by: Sequence[str] = (),
        evolve: bool = False,
        commit: Commit | None = None,
        replaced: Callable[[], str | None] | None = None,
        noted: Callable[[], Mapping[str, str]] | None = None,
    ) -> int:
        """Appends what has come since the offset that the table itself remembers; exactly once, whoever retries.

        The offset is the ``txn`` version of ``app``, so rows and offset land in the same commit.

        Args:
            name: Table; made where it does not exist.
            app: Application id of the stream, for instance ``spool/flights/worker-0/1``.
            read: Maps the last offset (0 at first) to the new rows (None: nothing new) and their end offset.
            partition_by: Partition columns of a new table.
            evolve: Whether new columns may be added.
            commit: Who commits, for the history.
            replaced: Asked after ``read``: the condition of the rows that the new ones take the place of, in the same
                commit; all new rows must meet it. None: nothing is replaced; ``ALL_ROWS``: everything.
            noted: Asked after ``read``: what the log shall hold beside the rows, for ``note_of``.

        Returns:
            The number of rows appended.

        Raises:
            UserError: The rows do not fit the table.
            DependencyError: Others committed first at every attempt.
        """
        path, who = self.path(name), commit or Commit(app, asset=name)

        batches: dict[int, tuple[pa.Table | None, int]] = {}

        def attempt(handle: DeltaTable | None, last: int) -> int | None:
            data, offset = batches[last] if last in batches else batches.setdefault(last, read(last))
            if data is None:
                return 0
            rows = canonical(data, name)
            if handle is None:
                # Made empty first: two writers that both made it with their rows would both be let through.
                self.writer.create(path, rows.schema, partition_by)
                return None
            check_fits(rows.schema, pa.schema(handle.schema().to_arrow()), name, evolve=evolve)
            notes = note_for(app, offset, noted()) if noted else {}
            named, predicate = replace(who, app=app, version=offset, notes=notes), replaced() if replaced else None
            mode: Mode = "append" if predicate is None else "overwrite"
            part = None if predicate == ALL_ROWS else predicate
            self._put(name, handle, rows, named, offset, mode=mode, predicate=part, evolve=evolve)
            return int(rows.num_rows)

        with hold_rewrites(self.root, name) if replaced else nullcontext():
            return commit_stream(lambda: open_table(path, self._storage_options), app, attempt)

    def merge(self, name: str, data: pa.Table, keys: Sequence[str], commit: Commit) -> int:
        """Updates rows by key, inserts new ones, in one commit; returns the table's version."""
        rows = canonical(data, name)
        path = self.path(name)

        def write(handle: DeltaTable, version: int) -> None:
            check_fits(rows.schema, pa.schema(handle.schema().to_arrow()), name, evolve=False)
            self.writer.merge(path, handle, rows, commit, version, keys)

        with hold_rewrites(self.root, name):
            commit_once(lambda: self._open_or_create(path, rows.schema, ()), commit, write)
        return self.open(name).version()

    def merge_stream(
        self,
        name: str,
        app: str,
        read: Callable[[int, int | None], Upsert | None],
        keys: Sequence[str],
        *,
        schema: pa.Schema,
        commit: Commit | None = None,
    ) -> int:
        """Brings a table up to what it follows, in one commit with its offset; exactly once, whoever retries.

        Where rows are only added they are appended, else merged.

        Args:
            name: Table; made where it does not exist.
            app: Application id whose ``txn`` version is the offset.
            read: Maps the last offset (0 at first) and the table's version (None: it is not there) to what the table
                lacks; None: nothing, not even an offset.
            keys: Columns that no two rows share; never NULL.
            schema: Schema of a new table.
            commit: Who commits, for the history.

        Returns:
            How many rows were added, changed and deleted.

        Raises:
            UserError: The rows do not fit the table.
            DependencyError: Others committed first at every attempt.
        """
        path, who = self.path(name), commit or Commit(app, asset=name)

        def attempt(handle: DeltaTable | None, last: int) -> int | None:
            found = read(last, None if handle is None else handle.version())
            if found is None:
                return 0
            if handle is None:
                # Made empty first: two writers that both made it with their rows would both be let through.
                self.writer.create(path, schema, ())
                return None
            refuse_foreign_features(handle, name)
            named, added = replace(who, app=app, version=found.offset), canonical(found.added, name)
            num_rows = int(added.num_rows + found.changed.num_rows + found.gone.num_rows)
            if not found.replaces_all:
                check_fits(added.schema, pa.schema(handle.schema().to_arrow()), name, evolve=False)
            if found.replaces_all or num_rows == added.num_rows:
                mode: Mode = "overwrite" if found.replaces_all else "append"
                self._put(name, handle, added, named, found.offset, mode=mode, predicate=None, evolve=False)
                return num_rows
            parts = ((added, False), (canonical(found.changed, name), False), (canonical(found.gone, name), True))
            marked = [rows.append_column(GONE, pa.repeat(is_gone, rows.num_rows)) for rows, is_gone in parts]
            self.writer.merge(path, handle, pa.concat_tables(marked), named, found.offset, keys, GONE)
            return num_rows

        with hold_rewrites(self.root, name):
            return commit_stream(lambda: open_table(path, self._storage_options), app, attempt)

    def history(self, name: str, limit: int | None = None) -> list[dict[str, Any]]:
        """Returns the commits of a table, newest first."""
        return read_history(self.open(name), limit)

    def note(self, name: str, app: str, offset: int) -> dict[str, str]:
        """Returns what ``append_stream`` noted beside the rows of an offset; empty where the log has no such commit."""
        return note_of(self.open(name), app, offset)

    def num_rows(self, name: str, version: int | None = None) -> int:
        """Returns the number of rows of a version, from the log alone."""
        actions = pa.table(self.open(name, version).get_add_actions(flatten=True))
        return int(sum(value or 0 for value in actions["num_records"].to_pylist()))

    def _put(
        self,
        name: str,
        handle: DeltaTable,
        rows: pa.Table,
        commit: Commit,
        version: int,
        *,
        mode: Mode,
        predicate: str | None,
        evolve: bool,
    ) -> None:
        """Writes through a handle; on an object store what replaces a table whole is looked at afterwards."""
        path, before = self.path(name), handle.version()
        told: dict[str, Any] = {"mode": mode, "predicate": predicate, "evolve": evolve}
        self.writer.write(path, handle, rows, commit, version, **told)
        if mode == "append" or predicate is not None or "://" not in self.root:
            return  # What reads rows to replace some of them fails against a rewrite, and is tried again.
        write_over_rewrites(
            lambda: self.open(name), before, commit,
            lambda again: self.writer.write(path, again, rows, commit, version, **told),
        )  # fmt: skip

    def _dataset(self, handle: DeltaTable, name: str) -> Any:
        return dataset_of(handle, None if "://" in self.root else self.path(name))

    def _open_or_create(self, path: str, schema: pa.Schema, partition_by: Sequence[str]) -> DeltaTable:
        handle = open_table(path, self._storage_options)
        if handle is None:
            self.writer.create(path, schema, partition_by)
            handle = DeltaTable(path, storage_options=self._storage_options)
        return handle

    def _check_family(self) -> None:
        if "://" in self.root:
            return
        mark = Path(self.root) / MARK
        if not mark.exists():
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.write_text(json.dumps({"writer": self.writer.family}))
        family = json.loads(mark.read_text())["writer"]
        if family != self.writer.family:
            raise UserError(
                f"This lake is written by {family}, the engine of this target writes with {self.writer.family}.",
                self.root,
                "Choose the engine that made it, or another lake.",
            )
