"""The log of incidents as the Delta table ``monitors/incidents``."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.monitors.incidents import Event, Reason
from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.lake import Lake

__all__ = ["INCIDENTS", "SCHEMA", "append_events", "as_table", "read_events"]

INCIDENTS = "monitors/incidents"
NAMESPACE = uuid.UUID("6f1d2c1e-6c0a-4f0e-9d53-0c4b8d5f7a10")
_time = pa.timestamp("us", tz="UTC")
_reason = pa.struct(
    [("column", pa.string()), ("metric", pa.string()), ("value", pa.float64()), ("threshold", pa.float64())]
)
SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("monitor", pa.string()),
        ("sequence", pa.int64()),
        ("key", pa.string()),
        ("epoch", pa.int64()),
        ("kind", pa.string()),
        ("state", pa.string()),
        ("severity", pa.string()),
        ("owner", pa.string()),
        ("window_start", _time),
        ("baseline_id", pa.string()),
        ("score", pa.float64()),
        ("num_over", pa.int64()),
        ("num_under", pa.int64()),
        ("reasons", pa.list_(_reason)),
        ("at_utc", _time),
        ("by", pa.string()),
        ("note", pa.string()),
    ]
)


def as_table(monitor: str, events: Sequence[Event]) -> pa.Table:
    """Returns events as rows."""
    rows = [asdict(event) | {"monitor": monitor, "event_id": _id(monitor, event)} for event in events]
    return pa.Table.from_pylist([row | {"reasons": list(row["reasons"])} for row in rows], schema=SCHEMA)


def read_events(lake: Lake, monitor: str) -> list[Event]:
    """Returns the log of one monitor in order; empty where nothing was ever observed."""
    if not lake.exists(INCIDENTS):
        return []
    rows = lake.read(INCIDENTS, filters=pc.field("monitor") == monitor)
    return [_event(row) for row in rows.sort_by("sequence").to_pylist()]


def append_events(
    lake: Lake, monitor: str, decide: Callable[[Sequence[Event]], Sequence[Event]], commit: Commit | None = None
) -> list[Event]:
    """Adds to the log of one monitor what ``decide`` makes of it, exactly once, whoever else writes or retries.

    The length of the log is the ``txn`` version of the same commit: if somebody came between, ``decide`` is asked anew.

    Args:
        lake: The lake.
        monitor: Name of the monitor.
        decide: Maps the log so far to the events to add.
        commit: Who commits, for the history.

    Returns:
        The events that were added.
    """
    added: list[Event] = []

    def read(length: int) -> tuple[pa.Table | None, int]:
        log = [event for event in read_events(lake, monitor) if event.sequence <= length]
        added[:] = decide(log)
        return (as_table(monitor, added), length + len(added)) if added else (None, length)

    lake.append_stream(INCIDENTS, f"{INCIDENTS}/{monitor}", read, commit=commit)
    return added


def _event(row: dict[str, Any]) -> Event:
    named = {field.name: row[field.name] for field in fields(Event)}
    return Event(**named | {"reasons": tuple(Reason(**reason) for reason in row["reasons"] or ())})


def _id(monitor: str, event: Event) -> str:
    return str(uuid.uuid5(NAMESPACE, f"{monitor}\0{event.sequence}"))
