"""Files rewritten: compacted, or clustered along a Z-order curve; no row changes."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from deltalake import DeltaTable

from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.history import read_history
from mosaic_resources.delta.keepers import CLUSTERED_BY, keeper_of
from mosaic_resources.delta.lake import Lake
from mosaic_resources.delta.locks import rewriting, table_lock
from mosaic_resources.delta.upkeep import add_actions, files_of, until_committed
from mosaic_resources.errors import DependencyError, InternalError, UnknownNameError, UserError

__all__ = ["check_rewrite", "optimize"]

# How far back a commit is looked for that clustered the table; without one, all of it is clustered anew.
COMMITS_LOOKED_AT = 500


def optimize(
    lake: Lake, name: str, commit: Commit, cluster_by: Sequence[str] = (), target_bytes: int | None = None
) -> bool:
    """Compacts small files, or clusters rows along a Z-order curve, and returns whether anything was rewritten.

    A partition that holds no file from after the last clustering by the same columns is left as it is. Every row
    stays, in every version; a writer that came between makes it begin again.

    Args:
        lake: The lake.
        name: Table.
        commit: Who commits.
        cluster_by: Columns to cluster by, for instance the entity's keys, then the time.
        target_bytes: Size of a file to aim at; default: the table's own.

    Raises:
        UnknownNameError: The table has no such column.
        UserError: A column to cluster by is a partition column, which a file has but one value of.
        DependencyError: Others committed first at every attempt.
    """
    keeper = keeper_of(lake.writer)

    def attempt(handle: DeltaTable) -> bool:
        partition_columns = handle.metadata().partition_columns
        _check_columns(handle, cluster_by, partition_columns, name)
        only = _unclustered(lake, name, handle, cluster_by, partition_columns) if cluster_by else {}
        if only is None:
            return False
        return keeper.optimize(handle, commit, cluster_by, only, target_bytes)

    with table_lock(lake.root, name, "files"), rewriting(lake.root, name):
        rewritten = until_committed(lake, name, attempt)
        if rewritten:
            check_rewrite(lake, name, commit)
    return rewritten


def check_rewrite(lake: Lake, name: str, commit: Commit) -> None:
    """Ensures that a rewrite changed no row; takes it back where another rewrite of the same files came between.

    Raises:
        DependencyError: It was taken back.
        InternalError: It cannot be, since others have written on top of it.
    """
    version = next((one["version"] for one in lake.history(name, COMMITS_LOOKED_AT) if commit.token in str(one)), 0)
    if not version or lake.num_rows(name, version) == lake.num_rows(name, version - 1):
        return

    def take_back(handle: DeltaTable) -> None:
        if handle.version() != version:
            raise InternalError(
                f"Rows are doubled since version {version}, and others have written since.", name,
                f"Restore version {version - 1}, then run again what came later.",
            )  # fmt: skip
        keeper_of(lake.writer).restore(handle, commit, version - 1)

    until_committed(lake, name, take_back)
    raise DependencyError(
        "Two rewrites of the same files came at once; this one was taken back.", name, "Run it again."
    )


def _check_columns(handle: DeltaTable, cluster_by: Sequence[str], partition_columns: Sequence[str], name: str) -> None:
    known = [field.name for field in handle.schema().fields]
    for column in cluster_by:
        if column not in known:
            raise UnknownNameError("column", column, known, name)
        if column in partition_columns:
            raise UserError(
                f"'{column}' is a partition column; a file has but one value of it.", name, "Cluster by others."
            )


def _unclustered(
    lake: Lake, name: str, handle: DeltaTable, cluster_by: Sequence[str], partition_columns: Sequence[str]
) -> dict[str, list[str]] | None:
    """Returns the partitions that hold a file from after the last clustering; empty: all; None: there is none."""
    wanted = ",".join(cluster_by)
    last = next(
        (entry["version"] for entry in read_history(handle, COMMITS_LOOKED_AT) if _clustered_by(entry) == wanted), None
    )
    before = None if last is None else files_of(lake, name, last)
    if before is None:
        return {}
    added = [row for row in add_actions(handle).to_pylist() if row["path"] not in before]
    if not added:
        return None
    if len(partition_columns) != 1 or any(row[f"partition.{partition_columns[0]}"] is None for row in added):
        return {}
    column = partition_columns[0]
    return {column: sorted({str(row[f"partition.{column}"]) for row in added})}


def _clustered_by(entry: Mapping[str, Any]) -> str | None:
    told = entry.get(CLUSTERED_BY)
    if told is None and f'"{CLUSTERED_BY}"' in str(entry.get("userMetadata")):
        told = json.loads(entry["userMetadata"])[CLUSTERED_BY]
    return told
