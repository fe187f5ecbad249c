"""The commits of a table, each under its own version."""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pyarrow.fs as fs
from deltalake import DeltaTable
from deltalake.fs import DeltaStorageHandler

__all__ = ["commits_back", "read_history", "storage"]


def storage(handle: DeltaTable) -> fs.FileSystem:
    """Returns the table's folder as a file system, wherever it is."""
    return fs.PyFileSystem(DeltaStorageHandler.from_table(handle._table))


def read_history(handle: DeltaTable, limit: int | None = None) -> list[dict[str, Any]]:
    """Returns what each commit up to the handle's version says of itself, newest first.

    ``DeltaTable.history`` counts versions down from the handle's over whatever lies in the log by then: where
    another writer committed meanwhile, every version it names is off by one or more.

    Args:
        handle: The table at a version.
        limit: Commits to return at most; default: all that the log still holds.
    """
    return list(islice(commits_back(handle), limit))


def commits_back(handle: DeltaTable) -> Iterator[dict[str, Any]]:
    """Yields what each commit up to the handle's version says of itself, newest first, each read as it is asked for."""
    files = storage(handle)
    for version in range(handle.version(), -1, -1):
        try:
            with files.open_input_stream(f"_delta_log/{version:020d}.json") as stream:
                lines = stream.read().decode().splitlines()
        except FileNotFoundError:
            return  # Older commits were cut off the log.
        told: dict[str, Any] = next(
            (json.loads(line)["commitInfo"] for line in lines if line.startswith('{"commitInfo"')), {}
        )
        yield {**told, "version": version}
