"""From the spool to the inference table: every answered request once, whoever drains, however often."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.lake import Lake
from mosaic_resources.errors import missing_extra
from mosaic_resources.spool.frame import SpoolCorruptError
from mosaic_resources.spool.reader import Segment, read_records, segments

__all__ = ["INFERENCE_SCHEMA", "Drained", "drain", "to_rows"]

# The columns of Databricks' inference tables, then ours.
INFERENCE_SCHEMA = pa.schema(
    [
        ("request_id", pa.string()),
        ("client_request_id", pa.string()),
        ("timestamp_ms", pa.int64()),
        ("status_code", pa.int64()),
        ("execution_duration_ms", pa.float64()),
        ("request", pa.string()),
        ("response", pa.string()),
        ("served_entity_id", pa.string()),
        ("sampling_fraction", pa.float64()),
        ("features", pa.string()),
        ("model_version", pa.string()),
        ("date", pa.string()),
    ]
)


@dataclass(frozen=True)
class Drained:
    """What a drain did.

    Args:
        num_rows: Rows that it appended.
        num_segments: Segments that it read.
        removed: Segments that it deleted.
    """

    num_rows: int
    num_segments: int
    removed: tuple[Path, ...] = ()


def to_rows(payloads: Iterable[bytes]) -> pa.Table:
    """Returns the rows of logged records, in order; ``date`` is the UTC day of ``timestamp_ms``."""
    try:
        import orjson
    except ImportError as exc:
        raise missing_extra("orjson", "serve") from exc
    records: list[dict[str, Any]] = [orjson.loads(payload) for payload in payloads]
    for record in records:
        record["date"] = datetime.fromtimestamp(record["timestamp_ms"] / 1000, UTC).date().isoformat()
    return pa.Table.from_pylist(records, schema=INFERENCE_SCHEMA)


def drain(
    lake: Lake, spool_root: Path, service: str, table: str, commit: Commit, *, remove_drained: bool = False
) -> Drained:
    """Appends what the service has logged since the last drain.

    The offset of each segment lies in the table itself, in the commit of its rows, so a drain that is killed,
    repeated or run twice at once neither loses nor doubles a row.

    Args:
        lake: The lake.
        spool_root: The spool's folder.
        service: Name of the service.
        table: The inference table; partitioned by ``date``.
        commit: Who commits.
        remove_drained: Whether to delete segments that are drained and no longer written.

    Raises:
        SpoolCorruptError: A segment is damaged. What lies before the damage is in the table, and so are the other
            segments.
    """
    num_rows = 0
    removed: list[Path] = []
    damage: SpoolCorruptError | None = None
    found = segments(spool_root, service)
    for segment in found:
        stream = _Stream(segment)
        num_rows += lake.append_stream(table, segment.app, stream.read, partition_by=("date",), commit=commit)
        damage = damage or stream.damage
        if remove_drained and not segment.is_last and stream.end == segment.path.stat().st_size:
            segment.path.unlink()
            removed.append(segment.path)
    if damage is not None:
        raise damage
    return Drained(num_rows, len(found), tuple(removed))


class _Stream:
    """Reads one segment from an offset, remembering how far it came and what stopped it."""

    def __init__(self, segment: Segment) -> None:
        self.segment, self.end = segment, 0
        self.damage: SpoolCorruptError | None = None

    def read(self, offset: int) -> tuple[pa.Table | None, int]:
        payloads = []
        self.end, self.damage = offset, None
        try:
            for payload, end in read_records(self.segment.path, offset):
                payloads.append(payload)
                self.end = end
        except SpoolCorruptError as exc:
            self.damage = exc
        return (to_rows(payloads) if payloads else None), self.end
