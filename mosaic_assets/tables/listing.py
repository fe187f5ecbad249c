"""Which tables a lake holds."""

import os
from pathlib import Path

from mosaic_assets.lineage.names import table_dataset
from mosaic_resources.delta.lake import Lake
from mosaic_resources.outbox.outbox import Outbox

__all__ = ["list_tables"]


def list_tables(lake: Lake, outbox: Outbox) -> list[str]:
    """Returns the names of the lake's tables, sorted.

    A local lake is walked; of one in an object store, where a listing is slow, the tables that a step has named
    are returned.

    Args:
        lake: The lake.
        outbox: What the steps said.
    """
    if "://" not in lake.root:
        return sorted(_walk(Path(lake.root), Path(lake.root)))
    namespace, prefix = table_dataset(lake.root)
    named = outbox.datasets() if outbox.exists else []
    inside = [
        name.removeprefix(f"{prefix}/") for space, name in named if space == namespace and name.startswith(f"{prefix}/")
    ]
    return sorted(name for name in inside if lake.exists(name))


def _walk(root: Path, folder: Path) -> list[str]:
    if (folder / "_delta_log").is_dir():
        return [folder.relative_to(root).as_posix()]
    try:
        inside = [
            Path(entry.path) for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith((".", "_"))
        ]
    except FileNotFoundError:
        return []
    return [name for child in inside for name in _walk(root, child)]
