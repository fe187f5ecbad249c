"""What makes a model's rows: its columns, its dataset's declaration, the code of each table that was joined."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mosaic_assets.datasets.manifest import Manifest
from mosaic_assets.work import code_hash
from mosaic_resources.delta.lake import Lake

__all__ = ["code_version_at", "rows_definition"]


def rows_definition(lake: Lake, manifest: Manifest, columns: Sequence[str]) -> str:
    """Returns a hash that stays the same while only rows arrive, and changes with a view's SQL or a model's columns.

    Args:
        lake: Where the tables are.
        manifest: Pins the dataset.
        columns: Columns that the model reads.
    """
    tables = sorted(manifest.tables.items())
    code = [(table, code_version_at(lake.history(table), version)) for table, version in tables]
    return code_hash(tuple(columns), manifest.code_version, code)


def code_version_at(history: Iterable[Mapping[str, Any]], version: int) -> str:
    """Returns the code version of the newest commit up to a version that names one; empty: none does, as with dbt.

    Args:
        history: Commits, newest first.
        version: Delta version.
    """
    for entry in history:
        # delta-rs keeps a commit's facts as keys of their own, delta-spark as one JSON text.
        told = {**json.loads(entry.get("userMetadata") or "{}"), **entry}
        if entry["version"] <= version and told.get("code_version"):
            return str(told["code_version"])
    return ""
