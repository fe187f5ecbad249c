"""Old versions of a table: back to one, or a copy of one."""

from deltalake import DeltaTable

from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.history import storage
from mosaic_resources.delta.keepers import keeper_of
from mosaic_resources.delta.lake import Lake
from mosaic_resources.delta.locks import rewriting, table_lock
from mosaic_resources.delta.upkeep import files_of, sizes_of, until_committed
from mosaic_resources.errors import UserError

__all__ = ["clone", "restore"]


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
        needed = files_of(lake, name, version)
        if needed is None or any(size is None for size in sizes_of(files, needed).values()):
            raise UserError(
                f"Version {version} cannot be restored: it does not exist, or its files were vacuumed.", name,
                "See the table's history; a pinned version is never vacuumed.",
            )  # fmt: skip
        keeper.restore(handle, commit, version)
        return lake.open(name).version()

    with table_lock(lake.root, name, "files"), rewriting(lake.root, name):
        return until_committed(lake, name, attempt)


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
