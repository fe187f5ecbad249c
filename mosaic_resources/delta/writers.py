"""The two families of writers behind one contract. A lake has exactly one of them."""

import json
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

from mosaic_resources.delta.commit import Commit, open_table
from mosaic_resources.errors import UserError

__all__ = ["DeltaRsWriter", "DeltaSparkWriter", "Mode", "Writer"]

Mode = Literal["append", "overwrite"]
# The log is never cut by age: a dataset's manifest may name any version, and one without its commit cannot be read.
CONFIGURATION = {"delta.enableChangeDataFeed": "true", "delta.enableExpiredLogCleanup": "false"}


class Writer(Protocol):
    """Puts rows into one table in one commit. ``handle`` is the snapshot that the commit is checked against."""

    family: str

    def create(self, path: str, schema: pa.Schema, partition_by: Sequence[str]) -> None:
        """Makes an empty table where there is none; does nothing where somebody else came first."""
        ...

    def write(
        self,
        path: str,
        handle: DeltaTable,
        data: pa.Table,
        commit: Commit,
        version: int,
        *,
        mode: Mode,
        predicate: str | None,
        evolve: bool,
    ) -> None:
        """Appends, or overwrites the rows that match ``predicate`` (all rows without one)."""
        ...

    def merge(
        self,
        path: str,
        handle: DeltaTable,
        data: pa.Table,
        commit: Commit,
        version: int,
        keys: Sequence[str],
        gone: str | None = None,
    ) -> None:
        """Updates the rows whose keys match and inserts the others; those marked in column ``gone`` are deleted."""
        ...


class DeltaRsWriter:
    """delta-rs: no JVM; local disk, or an object store with conditional put."""

    family = "delta-rs"

    def __init__(self, storage_options: dict[str, str] | None = None) -> None:
        self._storage_options = storage_options

    def create(self, path: str, schema: pa.Schema, partition_by: Sequence[str]) -> None:
        """See ``Writer``."""
        try:
            DeltaTable.create(
                path, schema, mode="ignore", partition_by=list(partition_by) or None,
                configuration=CONFIGURATION, storage_options=self._storage_options,
            )  # fmt: skip
        except DeltaError:
            if open_table(path, self._storage_options) is None:
                raise  # Not a race for the first commit, but a disk or a right that is missing.

    def write(
        self,
        path: str,
        handle: DeltaTable,
        data: pa.Table,
        commit: Commit,
        version: int,
        *,
        mode: Mode,
        predicate: str | None,
        evolve: bool,
    ) -> None:
        """See ``Writer``."""
        write_deltalake(
            handle,
            data,
            mode=mode,  # type: ignore[arg-type]
            predicate=predicate,
            schema_mode="overwrite" if _replaces_all(mode, predicate) else "merge" if evolve else None,
            commit_properties=commit.properties(version),
        )

    def merge(
        self,
        path: str,
        handle: DeltaTable,
        data: pa.Table,
        commit: Commit,
        version: int,
        keys: Sequence[str],
        gone: str | None = None,
    ) -> None:
        """See ``Writer``."""
        merger = handle.merge(
            data,
            " AND ".join(f"target.`{key}` = source.`{key}`" for key in keys),
            source_alias="source",
            target_alias="target",
            commit_properties=commit.properties(version),
        )
        if gone is None:
            merger.when_matched_update_all().when_not_matched_insert_all().execute()
            return
        is_gone, is_there = f"source.`{gone}`", f"NOT source.`{gone}`"
        values = {f"`{name}`": f"source.`{name}`" for name in data.column_names if name != gone}
        merger = merger.when_matched_delete(is_gone)
        merger.when_matched_update(values, is_there).when_not_matched_insert(values, is_there).execute()


class DeltaSparkWriter:
    """delta-spark: commits by the one driver behind a Spark session.

    Args:
        session: Returns the live session.
    """

    family = "delta-spark"

    def __init__(self, session: Callable[[], Any]) -> None:
        self.session = session

    def create(self, path: str, schema: pa.Schema, partition_by: Sequence[str]) -> None:
        """See ``Writer``."""
        empty = self.session().createDataFrame(schema.empty_table())
        empty.write.format("delta").mode("ignore").options(**CONFIGURATION).partitionBy(*partition_by).save(path)

    def write(
        self,
        path: str,
        handle: DeltaTable,
        data: pa.Table,
        commit: Commit,
        version: int,
        *,
        mode: Mode,
        predicate: str | None,
        evolve: bool,
    ) -> None:
        """See ``Writer``."""
        options = {"txnAppId": commit.app, "txnVersion": str(version), "userMetadata": json.dumps(commit.metadata())}
        if mode == "overwrite" and predicate:
            options["replaceWhere"] = predicate
        if _replaces_all(mode, predicate):
            options["overwriteSchema"] = "true"
        elif evolve:
            options["mergeSchema"] = "true"
        frame = self.session().createDataFrame(data)
        frame.write.format("delta").mode(mode).options(**options).save(path)

    def merge(
        self,
        path: str,
        handle: DeltaTable,
        data: pa.Table,
        commit: Commit,
        version: int,
        keys: Sequence[str],
        gone: str | None = None,
    ) -> None:
        """See ``Writer``."""
        session = self.session()
        view = f"mosaic_merge_{commit.token}"
        session.createDataFrame(data).createOrReplaceTempView(view)
        condition = " AND ".join(f"target.`{key}` = source.`{key}`" for key in keys)
        settings = {
            "spark.databricks.delta.write.txnAppId": commit.app,
            "spark.databricks.delta.write.txnVersion": str(version),
        }
        actions = "WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
        if gone is not None:
            names = [f"`{name}`" for name in data.column_names if name != gone]
            update = ", ".join(f"{name} = source.{name}" for name in names)
            values = ", ".join(f"source.{name}" for name in names)
            actions = (
                f"WHEN MATCHED AND source.`{gone}` THEN DELETE WHEN MATCHED THEN UPDATE SET {update} "
                f"WHEN NOT MATCHED AND NOT source.`{gone}` THEN INSERT ({', '.join(names)}) VALUES ({values})"
            )
        try:
            for name, value in settings.items():
                session.conf.set(name, value)
            session.sql(f"MERGE INTO delta.`{path}` AS target USING {view} AS source ON {condition} {actions}")
        finally:
            for name in settings:
                session.conf.unset(name)
            session.catalog.dropTempView(view)


def _replaces_all(mode: Mode, predicate: str | None) -> bool:
    return mode == "overwrite" and predicate is None


def refuse_foreign_features(handle: DeltaTable, where: str) -> None:
    """Ensures that a table has no feature that the reader gets wrong without an error.

    Raises:
        UserError: Column mapping (rows would read as NULL) or deletion vectors are on.
    """
    configuration = handle.metadata().configuration
    mapping = configuration.get("delta.columnMapping.mode", "none")
    if mapping != "none":
        raise UserError(f"The table uses column mapping ('{mapping}').", where, "Rewrite it without column mapping.")
    features = set(handle.protocol().reader_features or ())
    if "deletionVectors" in features:
        raise UserError(
            "The table has deletion vectors.", where, "Purge them (REORG TABLE … APPLY (PURGE)) and turn them off."
        )
