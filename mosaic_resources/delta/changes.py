"""What happened to a table: its commits for people, its changed rows for those who follow it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from mosaic_resources.delta.lake import Lake
from mosaic_resources.delta.schema import canonical
from mosaic_resources.errors import UserError

__all__ = ["TableCommit", "changes", "commits"]


@dataclass(frozen=True)
class TableCommit:
    """One commit of a table.

    Args:
        version: Version that it made.
        at_utc: When.
        operation: WRITE, MERGE, OPTIMIZE, VACUUM END …
        run_id: Dagster run; empty where another tool committed.
        asset: Asset that wrote.
        partition: Its partitions.
        code_version: Hash of the code that made the rows.
    """

    version: int
    at_utc: datetime
    operation: str
    run_id: str
    asset: str
    partition: str
    code_version: str


def commits(lake: Lake, name: str, limit: int | None = None) -> list[TableCommit]:
    """Returns the commits of a table, newest first."""
    return [_commit(entry) for entry in lake.history(name, limit)]


def changes(lake: Lake, name: str, start: int, end: int | None = None) -> pa.Table:
    """Returns the rows that changed in the versions from ``start`` to ``end``, both included.

    Beside the table's columns: ``_change_type`` (insert, delete, update_preimage, update_postimage),
    ``_commit_version``, ``_commit_timestamp``. A rewrite of files (OPTIMIZE) changes no row.

    Args:
        lake: The lake.
        name: Table.
        start: First version.
        end: Last version; default: the newest.

    Raises:
        UserError: The table keeps no changes, or files of these versions were vacuumed.
    """
    handle = lake.open(name)
    last = handle.version() if end is None else end
    try:
        reader = handle.load_cdf(start, last, allow_out_of_range=True)
        return canonical(pa.table(reader.read_all() if hasattr(reader, "read_all") else reader), name)
    except Exception as exc:
        raise _explained(exc, name, start, last, handle.metadata().configuration) from exc


def _explained(exc: Exception, name: str, start: int, last: int, configuration: Mapping[str, str | None]) -> Exception:
    if configuration.get("delta.enableChangeDataFeed") != "true":
        return UserError("The table keeps no changes.", name, "Set delta.enableChangeDataFeed, or read it whole.")
    if "Failed to fetch metadata" in str(exc) or "not found" in str(exc).lower():
        return UserError(
            f"The changes of versions {start} to {last} were vacuumed.", name, "Read the table whole, then follow it."
        )
    return exc


def _commit(entry: Mapping[str, Any]) -> TableCommit:
    # delta-rs shows the metadata as keys of their own, delta-spark as one text.
    told: Mapping[str, Any] = entry
    if isinstance(entry.get("userMetadata"), str):
        try:
            told = json.loads(entry["userMetadata"])
        except ValueError:
            told = {}
    named = {key: str(told.get(key) or "") for key in ("run_id", "asset", "partition", "code_version")}
    at = datetime.fromtimestamp(entry["timestamp"] / 1000, UTC)
    return TableCommit(int(entry["version"]), at, str(entry["operation"]), **named)
