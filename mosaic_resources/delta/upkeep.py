"""Upkeep of a table: compact, cluster, vacuum around what is pinned, go back to a version, copy one."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from pathlib import Path
from typing import Any, TypeVar

import filelock
import pyarrow as pa
import pyarrow.fs as fs
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from mosaic_resources.delta.commit import MAX_ATTEMPTS, Commit
from mosaic_resources.delta.history import read_history, storage
from mosaic_resources.delta.keepers import CLUSTERED_BY, keeper_of, vacuum_files
from mosaic_resources.delta.lake import Lake
from mosaic_resources.errors import DependencyError, UnknownNameError, UserError

__all__ = ["VacuumPlan", "check_rewrite", "clone", "optimize", "plan_vacuum", "restore", "table_lock", "vacuum"]

# How far back a commit is looked for that clustered the table; without one, all of it is clustered anew.
COMMITS_LOOKED_AT = 500
Result = TypeVar("Result")


@dataclass(frozen=True)
class VacuumPlan:
    """What a vacuum removes, what it leaves for those who pinned it, and what that costs.

    Args:
        table: Table.
        version: Newest version when it was planned.
        live_bytes: Size of the files of the newest version.
        pinned: Pinned version → who needs it.
        unreadable: Pinned versions of which files were gone before.
        kept: Files that go only when nothing pins them any more → size in bytes.
        removed: Files that nothing needs → size in bytes.
    """

    table: str
    version: int
    live_bytes: int
    pinned: Mapping[int, Sequence[str]]
    unreadable: Sequence[int]
    kept: Mapping[str, int]
    removed: Mapping[str, int]

    @property
    def kept_bytes(self) -> int:
        """What the pins cost."""
        return sum(self.kept.values())

    @property
    def removed_bytes(self) -> int:
        """What the vacuum frees."""
        return sum(self.removed.values())


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

    with table_lock(lake, name):
        rewritten = _until_committed(lake, name, attempt)
        if rewritten:
            check_rewrite(lake, name, commit)
    return rewritten


def plan_vacuum(lake: Lake, name: str, retention: timedelta, pins: Mapping[int, Sequence[str]]) -> VacuumPlan:
    """Returns what ``vacuum`` would do; changes nothing.

    Args:
        lake: The lake.
        name: Table.
        retention: A file lives at least that long after the version that no longer needs it; whole hours.
        pins: Pinned version → who needs it.
    """
    handle = lake.open(name)
    files = storage(handle)
    pinned = {version: _files(lake, name, version) for version in pins}
    readable = {version: paths for version, paths in pinned.items() if paths is not None}
    gone = set(vacuum_files(handle, retention, list(readable), dry_run=True))
    without_pins = set(vacuum_files(handle, retention, (), dry_run=True)) if pins else gone
    sizes = _sizes(files, {*without_pins, *gone, *(path for paths in readable.values() for path in paths)})
    unreadable = [v for v, paths in pinned.items() if paths is None or any(sizes[path] is None for path in paths)]
    return VacuumPlan(
        name, handle.version(), sum((_files(lake, name, handle.version()) or {}).values()), dict(pins),
        sorted(unreadable), {path: size for path in sorted(without_pins - gone) if (size := sizes[path]) is not None},
        {path: size for path in sorted(gone) if (size := sizes[path]) is not None},
    )  # fmt: skip


def vacuum(
    lake: Lake, name: str, commit: Commit, retention: timedelta, pins: Mapping[int, Sequence[str]]
) -> VacuumPlan:
    """Removes the files that no pinned and no young version needs, and returns what was planned.

    The log itself is kept whole: a version whose commit is gone could not be read, whatever files are left.

    Args:
        lake: The lake.
        name: Table.
        commit: Who commits.
        retention: A file lives at least that long after the version that no longer needs it; whole hours.
        pins: Pinned version → who needs it.

    Raises:
        UserError: This family of writers keeps no single versions, and a pinned one would be lost.
    """
    keeper = keeper_of(lake.writer)
    with table_lock(lake, name):
        _keep_log(lake, name, commit, retention)
        if not keeper.can_keep_versions:
            _refuse_to_lose(lake, name, retention, pins)
        plan = plan_vacuum(lake, name, retention, pins)
        keep = [version for version in pins if version not in plan.unreadable]
        if plan.removed:
            _until_committed(lake, name, lambda handle: keeper.vacuum(handle, commit, retention, keep))
    return plan


def restore(lake: Lake, name: str, version: int, commit: Commit) -> int:
    """Makes an old version the newest one, and returns the number of the version that it is now.

    Rows go back, the memory of streams does not: what an ingest has read stays read.

    Raises:
        UserError: The version does not exist, or files of it were vacuumed.
        DependencyError: Others committed first at every attempt.
    """
    keeper = keeper_of(lake.writer)

    def attempt(handle: DeltaTable) -> int:
        files = storage(handle)
        needed = _files(lake, name, version)
        if needed is None or any(size is None for size in _sizes(files, needed).values()):
            raise UserError(
                f"Version {version} cannot be restored: it does not exist, or its files were vacuumed.", name,
                "See the table's history; a pinned version is never vacuumed.",
            )  # fmt: skip
        keeper.restore(handle, commit, version)
        return lake.open(name).version()

    with table_lock(lake, name):
        return _until_committed(lake, name, attempt)


def clone(lake: Lake, name: str, version: int, target: str, commit: Commit) -> int:
    """Copies a version into a new table, files and all, and returns the copy's version.

    Args:
        lake: The lake.
        name: Table to copy.
        version: Its version.
        target: Table to make.
        commit: Who commits; a clone that was killed is completed by the same call.

    Raises:
        UserError: The target exists and holds something else.
    """
    done = Commit(
        f"clone/{name}@{version}", 1, commit.run_id, commit.asset, commit.partition, commit.code_version, commit.token
    )
    if (lake.version(target) or 0) > 0 and lake.open(target).transaction_version(done.app) is None:
        raise UserError(f"Table '{target}' exists already.", lake.root, "Clone into a new name.")
    by = lake.open(name, version).metadata().partition_columns
    return lake.write(target, lake.read(name, version), done, mode="append", partition_by=by)


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
    before = None if last is None else _files(lake, name, last)
    if before is None:
        return {}
    added = [row for row in _add_actions(handle).to_pylist() if row["path"] not in before]
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


def check_rewrite(lake: Lake, name: str, commit: Commit) -> None:
    """Ensures that a rewrite changed no row; takes it back where another rewrite of the same files came between.

    Raises:
        DependencyError: It was taken back.
    """
    version = next((one["version"] for one in lake.history(name, COMMITS_LOOKED_AT) if commit.token in str(one)), 0)
    if version and lake.num_rows(name, version) != lake.num_rows(name, version - 1):
        _until_committed(lake, name, lambda handle: keeper_of(lake.writer).restore(handle, commit, version - 1))
        raise DependencyError(
            "Two rewrites of the same files came at once; this one was taken back.", name, "Run it again."
        )


def _keep_log(lake: Lake, name: str, commit: Commit, retention: timedelta) -> None:
    """Ensures that the log is not cut by age, and that it remembers removed files for as long as they live."""
    hours = max(ceil(retention / timedelta(hours=1)), 168)
    wanted = {"delta.enableExpiredLogCleanup": "false", "delta.deletedFileRetentionDuration": f"interval {hours} hours"}

    def attempt(handle: DeltaTable) -> None:
        has = handle.metadata().configuration
        # A week is what the format takes for granted.
        missing = {key: value for key, value in wanted.items() if has.get(key, "interval 168 hours") != value}
        if missing:
            keeper_of(lake.writer).configure(handle, commit, missing)

    _until_committed(lake, name, attempt)


def _refuse_to_lose(lake: Lake, name: str, retention: timedelta, pins: Mapping[int, Sequence[str]]) -> None:
    # An hour less, since the vacuum itself comes a moment later.
    early = max(retention - timedelta(hours=1), timedelta(0))
    gone = set(vacuum_files(lake.open(name), early, (), dry_run=True))
    for version in sorted(pins):
        if gone & set(_files(lake, name, version) or {}):
            raise UserError(
                f"{', '.join(pins[version])} needs version {version}, which {lake.writer.family} cannot keep alone.",
                name,
                "Choose a longer retention, or let the pin go.",
            )


def _files(lake: Lake, name: str, version: int) -> dict[str, int] | None:
    """Returns path → size of the files of a version; None where the log no longer tells."""
    try:
        actions = _add_actions(lake.open(name, version))
    except (DeltaError, UserError):
        return None
    return dict(zip(actions["path"].to_pylist(), actions["size_bytes"].to_pylist(), strict=True))


def _add_actions(handle: DeltaTable) -> pa.Table:
    return pa.table(handle.get_add_actions(flatten=True))


def _sizes(files: fs.FileSystem, paths: Mapping[str, int] | set[str]) -> dict[str, int | None]:
    """Returns path → size in bytes, None where there is no such file."""
    listed = sorted(paths)
    return dict(zip(listed, (info.size for info in files.get_file_info(listed)), strict=True)) if listed else {}


def _until_committed(lake: Lake, name: str, attempt: Callable[[DeltaTable], Result]) -> Result:
    for number in range(MAX_ATTEMPTS):
        try:
            return attempt(lake.open(name))
        except CommitFailedError:
            time.sleep(min(0.05 * 2**number, 2.0))
    raise DependencyError("Other writers committed first at every attempt.", name, "Run it again.")


@contextmanager
def table_lock(lake: Lake, name: str) -> Iterator[None]:
    """Holds the table's upkeep lock across processes of this machine.

    A vacuum must not remove what a restore brings back; and of two rewrites at once the storage layer lets both
    commit, so that every row is there twice.
    """
    if "://" in lake.root:
        yield  # Rewrites are checked afterwards.
        return
    folder = Path(lake.root) / "_locks"
    folder.mkdir(exist_ok=True)
    with filelock.FileLock(folder / f"{name.replace('/', '.')}.lock"):
        yield
