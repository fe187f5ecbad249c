"""Rows replaced while their files were rewritten: seen after the commit, where no lock could keep the two apart.

On an object store nothing is locked (docs/decisions/0006). The storage layer's conflict check passes over commits that
change no data, so an overwrite may remove files that an OPTIMIZE has replaced meanwhile: the rewritten ones stay, and
with them the rows that were overwritten.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from mosaic_resources.delta.commit import MAX_ATTEMPTS, Commit
from mosaic_resources.delta.history import storage
from mosaic_resources.errors import DependencyError

__all__ = ["rewritten_meanwhile", "write_over_rewrites"]


def write_over_rewrites(
    open_handle: Callable[[], DeltaTable], before: int, commit: Commit, write: Callable[[DeltaTable], None]
) -> None:
    """Ensures that a commit that replaced all rows left none of a rewrite that came between: it is written again.

    Args:
        open_handle: Opens the table anew.
        before: The version that the commit was made from.
        commit: The commit, which has landed.
        write: Writes its rows again through the handle it is given.

    Raises:
        DependencyError: Others committed first at every attempt; rows that were replaced are back.
    """
    for number in range(MAX_ATTEMPTS):
        handle = open_handle()
        if rewritten_meanwhile(handle, before, commit.token) is None:
            return
        snapshot = handle.version()
        try:
            write(handle)
            before = snapshot
        except CommitFailedError:  # Not for the caller, who would find the first commit and take it for whole.
            time.sleep(min(0.05 * 2**number, 2.0))
    raise DependencyError(
        "Files were rewritten while all rows were replaced, and others committed first at every attempt.", commit.app,
        "Run it again; run upkeep when nothing else writes.",
    )  # fmt: skip


def rewritten_meanwhile(handle: DeltaTable, before: int, token: str) -> int | None:
    """Returns the version that rewrote files which the commit of ``token`` removed; None where there is none.

    Args:
        handle: The table, with that commit.
        before: The version that the commit was made from.
        token: The commit's token.
    """
    between = dict(_actions(handle, before + 1))
    ours = max((version for version, actions in between.items() if _is_ours(actions, token)), default=None)
    if ours is None:
        return None
    removed = _removed(between[ours])
    for version in sorted(version for version in between if version < ours):
        if not _changes_data(between[version]) and removed & _removed(between[version]):
            return version
    return None


def _actions(handle: DeltaTable, start: int) -> Iterator[tuple[int, list[Mapping[str, Any]]]]:
    files = storage(handle)
    for version in range(start, handle.version() + 1):
        with files.open_input_stream(f"_delta_log/{version:020d}.json") as stream:
            yield version, [json.loads(line) for line in stream.read().decode().splitlines() if line.strip()]


def _is_ours(actions: list[Mapping[str, Any]], token: str) -> bool:
    return any(token in json.dumps(action["commitInfo"]) for action in actions if "commitInfo" in action)


def _removed(actions: list[Mapping[str, Any]]) -> set[str]:
    return {action["remove"]["path"] for action in actions if "remove" in action}


def _changes_data(actions: list[Mapping[str, Any]]) -> bool:
    return any(action["remove"].get("dataChange", True) for action in actions if "remove" in action)
