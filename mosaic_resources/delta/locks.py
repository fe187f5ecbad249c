"""Locks of one table across processes of this machine; see docs/decisions/0006."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Literal

import filelock

__all__ = ["hold_rewrites", "rewriting", "table_lock"]


@contextmanager
def table_lock(root: str, name: str, over: Literal["files", "rows"]) -> Iterator[None]:
    """Holds a lock of the table.

    Args:
        root: The lake's folder; on an object store nothing is held, and rewrites are checked afterwards.
        name: Table.
        over: ``files`` for upkeep, since a vacuum must not remove what a restore brings back; ``rows`` for what writes
            a table and its quarantine, which no upkeep must hold up.
    """
    if "://" in root:
        yield
        return
    with filelock.FileLock(_file(root, name, f"{over}.lock")):
        yield


def hold_rewrites(root: str, name: str) -> AbstractContextManager[object]:
    """Keeps rewrites of the table's files away while rows are replaced; others may replace rows meanwhile.

    The storage layer sees no conflict between a rewrite, which changes no row, and an overwrite that removes the files
    it rewrote: both are let through, and the rows that were overwritten are back.
    """
    return _both(root, name).read_lock() if "://" not in root else nullcontext()


def rewriting(root: str, name: str) -> AbstractContextManager[object]:
    """Waits until nobody replaces rows, and keeps that so; see ``hold_rewrites``."""
    return _both(root, name).write_lock() if "://" not in root else nullcontext()


def _both(root: str, name: str) -> filelock.ReadWriteLock:
    return filelock.ReadWriteLock(_file(root, name, "rewrite.db"), is_singleton=False)


def _file(root: str, name: str, suffix: str) -> Path:
    folder = Path(root) / "_locks"
    folder.mkdir(exist_ok=True)
    return folder / f"{name.replace('/', '.')}.{suffix}"
