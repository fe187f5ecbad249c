"""Upkeep by the two families of writers: rewrite files, remove old ones, go back to a version."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from math import ceil
from typing import Any, Protocol

from deltalake import CommitProperties, DeltaTable

from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.writers import DeltaSparkWriter, Writer

__all__ = ["CLUSTERED_BY", "DeltaRsKeeper", "DeltaSparkKeeper", "TableKeeper", "keeper_of"]

CLUSTERED_BY = "clustered_by"
# delta-rs takes whole hours; a minute of them is rounded up, so that a file lives rather longer than shorter.
HOUR = timedelta(hours=1)


class TableKeeper(Protocol):
    """Looks after the files of one table. ``handle`` is the snapshot that a commit is checked against.

    Args:
        can_keep_versions: Whether single old versions survive a vacuum; else none but the newest ones do.
    """

    can_keep_versions: bool

    def optimize(
        self,
        handle: DeltaTable,
        commit: Commit,
        cluster_by: Sequence[str],
        only: Mapping[str, Sequence[str]],
        target_bytes: int | None,
    ) -> bool:
        """Rewrites small files, along a Z-order curve over ``cluster_by`` if given; returns whether there were any."""
        ...

    def vacuum(self, handle: DeltaTable, commit: Commit, retention: timedelta, keep_versions: Sequence[int]) -> None:
        """Removes files that no version needs which is kept or younger than ``retention``."""
        ...

    def restore(self, handle: DeltaTable, commit: Commit, version: int) -> None:
        """Makes an old version the newest; fails where one of its files is gone."""
        ...

    def configure(self, handle: DeltaTable, commit: Commit, properties: Mapping[str, str]) -> None:
        """Sets properties of the table."""
        ...


class DeltaRsKeeper:
    """delta-rs: keeps single versions."""

    can_keep_versions = True

    def optimize(
        self,
        handle: DeltaTable,
        commit: Commit,
        cluster_by: Sequence[str],
        only: Mapping[str, Sequence[str]],
        target_bytes: int | None,
    ) -> bool:
        """See ``TableKeeper``."""
        filters: Any = [(column, "in", list(values)) for column, values in only.items()] or None
        if cluster_by:
            told = _properties(commit, {CLUSTERED_BY: ",".join(cluster_by)})
            metrics = handle.optimize.z_order(list(cluster_by), filters, target_bytes, commit_properties=told)
        else:
            metrics = handle.optimize.compact(filters, target_bytes, commit_properties=_properties(commit))
        return bool(metrics["numFilesRemoved"])

    def vacuum(self, handle: DeltaTable, commit: Commit, retention: timedelta, keep_versions: Sequence[int]) -> None:
        """See ``TableKeeper``."""
        vacuum_files(handle, retention, keep_versions, dry_run=False, commit=commit)

    def restore(self, handle: DeltaTable, commit: Commit, version: int) -> None:
        """See ``TableKeeper``."""
        handle.restore(version, commit_properties=_properties(commit))

    def configure(self, handle: DeltaTable, commit: Commit, properties: Mapping[str, str]) -> None:
        """See ``TableKeeper``."""
        handle.alter.set_table_properties(dict(properties), commit_properties=_properties(commit))


class DeltaSparkKeeper:
    """delta-spark: its vacuum knows an age alone, no single versions.

    Args:
        session: Returns the live session.
    """

    can_keep_versions = False

    def __init__(self, session: Callable[[], Any]) -> None:
        self._session = session

    def optimize(
        self,
        handle: DeltaTable,
        commit: Commit,
        cluster_by: Sequence[str],
        only: Mapping[str, Sequence[str]],
        target_bytes: int | None,
    ) -> bool:
        """See ``TableKeeper``."""
        quoted = [
            f"`{column}` in ({', '.join(repr(str(value)) for value in values)})" for column, values in only.items()
        ]
        where = f" WHERE {' AND '.join(quoted)}" if quoted else ""
        order = f" ZORDER BY ({', '.join(f'`{column}`' for column in cluster_by)})" if cluster_by else ""
        more = {CLUSTERED_BY: ",".join(cluster_by)} if cluster_by else {}
        settings = {} if target_bytes is None else {"spark.databricks.delta.optimize.maxFileSize": str(target_bytes)}
        (row,) = self._run(f"OPTIMIZE {_spark_name(handle)}{where}{order}", commit, more, settings)
        return bool(row["metrics"]["numFilesRemoved"])

    def vacuum(self, handle: DeltaTable, commit: Commit, retention: timedelta, keep_versions: Sequence[int]) -> None:
        """See ``TableKeeper``."""
        settings = {"spark.databricks.delta.retentionDurationCheck.enabled": "false"}
        self._run(f"VACUUM {_spark_name(handle)} RETAIN {_hours(retention)} HOURS", commit, {}, settings)

    def restore(self, handle: DeltaTable, commit: Commit, version: int) -> None:
        """See ``TableKeeper``."""
        self._run(f"RESTORE TABLE {_spark_name(handle)} TO VERSION AS OF {version}", commit)

    def configure(self, handle: DeltaTable, commit: Commit, properties: Mapping[str, str]) -> None:
        """See ``TableKeeper``."""
        told = ", ".join(f"'{name}' = '{value}'" for name, value in properties.items())
        self._run(f"ALTER TABLE {_spark_name(handle)} SET TBLPROPERTIES ({told})", commit)

    def _run(
        self,
        statement: str,
        commit: Commit,
        more: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> list[Any]:
        told = json.dumps({**commit.metadata(), **(more or {})})
        with _settings(
            self._session(), {"spark.databricks.delta.commitInfo.userMetadata": told, **(settings or {})}
        ) as session:
            return list(session.sql(statement).collect())


def keeper_of(writer: Writer) -> TableKeeper:
    """Returns the keeper of a lake's family of writers."""
    return DeltaSparkKeeper(writer.session) if isinstance(writer, DeltaSparkWriter) else DeltaRsKeeper()


def vacuum_files(
    handle: DeltaTable,
    retention: timedelta,
    keep_versions: Sequence[int],
    *,
    dry_run: bool,
    commit: Commit | None = None,
) -> list[str]:
    """Returns the files that a vacuum removes, and removes them unless it is a dry run.

    Files that no commit names (a writer was killed, or still writes) are looked for only where they must be a week
    old, since a younger one may be committed any moment.
    """
    return handle.vacuum(
        _hours(retention), dry_run, enforce_retention_duration=False, full=retention >= timedelta(days=7),
        keep_versions=sorted(keep_versions) or None, commit_properties=_properties(commit) if commit else None,
    )  # fmt: skip


def _properties(commit: Commit, more: Mapping[str, str] | None = None) -> CommitProperties:
    # Without a txn: rewriting files twice changes no row.
    return CommitProperties(custom_metadata={**commit.metadata(), **(more or {})})


def _hours(retention: timedelta) -> int:
    return ceil(retention / HOUR)


def _spark_name(handle: DeltaTable) -> str:
    return f"delta.`{handle.table_uri.removeprefix('file://').rstrip('/')}`"


@contextmanager
def _settings(session: Any, settings: Mapping[str, str]) -> Iterator[Any]:
    try:
        for name, value in settings.items():
            session.conf.set(name, value)
        yield session
    finally:
        for name in settings:
            session.conf.unset(name)
