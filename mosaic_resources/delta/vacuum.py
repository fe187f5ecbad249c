"""Old files removed, around the versions that are pinned; what the pins cost is said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import ceil

from deltalake import DeltaTable

from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.history import storage
from mosaic_resources.delta.keepers import keeper_of, vacuum_files
from mosaic_resources.delta.lake import Lake
from mosaic_resources.delta.locks import table_lock
from mosaic_resources.delta.upkeep import files_of, sizes_of, until_committed
from mosaic_resources.errors import UserError

__all__ = ["VacuumPlan", "plan_vacuum", "vacuum"]


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
    pinned = {version: files_of(lake, name, version) for version in pins}
    readable = {version: paths for version, paths in pinned.items() if paths is not None}
    gone = set(vacuum_files(handle, retention, list(readable), dry_run=True))
    without_pins = set(vacuum_files(handle, retention, (), dry_run=True)) if pins else gone
    sizes = sizes_of(files, {*without_pins, *gone, *(path for paths in readable.values() for path in paths)})
    unreadable = [v for v, paths in pinned.items() if paths is None or any(sizes[path] is None for path in paths)]
    return VacuumPlan(
        name, handle.version(), sum((files_of(lake, name, handle.version()) or {}).values()), dict(pins),
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
    with table_lock(lake.root, name, "files"):
        _keep_log(lake, name, commit, retention)
        if not keeper.can_keep_versions:
            _refuse_to_lose(lake, name, retention, pins)
        plan = plan_vacuum(lake, name, retention, pins)
        keep = [version for version in pins if version not in plan.unreadable]
        if plan.removed:
            until_committed(lake, name, lambda handle: keeper.vacuum(handle, commit, retention, keep))
    return plan


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

    until_committed(lake, name, attempt)


def _refuse_to_lose(lake: Lake, name: str, retention: timedelta, pins: Mapping[int, Sequence[str]]) -> None:
    # An hour less, since the vacuum itself comes a moment later.
    early = max(retention - timedelta(hours=1), timedelta(0))
    gone = set(vacuum_files(lake.open(name), early, (), dry_run=True))
    for version in sorted(pins):
        if gone & set(files_of(lake, name, version) or {}):
            raise UserError(
                f"{', '.join(pins[version])} needs version {version}, which {lake.writer.family} cannot keep alone.",
                name,
                "Choose a longer retention, or let the pin go.",
            )
