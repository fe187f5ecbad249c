"""What all upkeep of a table rests on: against a fresh snapshot, over the files of a version."""

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

import pyarrow as pa
import pyarrow.fs as fs
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from mosaic_resources.delta.commit import MAX_ATTEMPTS
from mosaic_resources.delta.lake import Lake
from mosaic_resources.errors import DependencyError, UserError

__all__ = ["add_actions", "files_of", "sizes_of", "until_committed"]

Result = TypeVar("Result")


def files_of(lake: Lake, name: str, version: int) -> dict[str, int] | None:
    """Returns path → size of the files of a version; None where the log no longer tells."""
    try:
        actions = add_actions(lake.open(name, version))
    except (DeltaError, UserError):
        return None
    return dict(zip(actions["path"].to_pylist(), actions["size_bytes"].to_pylist(), strict=True))


def add_actions(handle: DeltaTable) -> pa.Table:
    """Returns the files of a snapshot: ``path``, ``size_bytes``, ``num_records``, ``partition.<column>``."""
    return pa.table(handle.get_add_actions(flatten=True))


def sizes_of(files: fs.FileSystem, paths: Iterable[str]) -> dict[str, int | None]:
    """Returns path → size in bytes, None where there is no such file."""
    listed = sorted(paths)
    return dict(zip(listed, (info.size for info in files.get_file_info(listed)), strict=True)) if listed else {}


def until_committed(lake: Lake, name: str, attempt: Callable[[DeltaTable], Result]) -> Result:
    """Returns what ``attempt`` returns over a fresh snapshot, begun again where another writer came between.

    Raises:
        DependencyError: Others committed first at every attempt.
    """
    for number in range(MAX_ATTEMPTS):
        try:
            return attempt(lake.open(name))
        except CommitFailedError:
            time.sleep(min(0.05 * 2**number, 2.0))
    raise DependencyError("Other writers committed first at every attempt.", name, "Run it again.")
