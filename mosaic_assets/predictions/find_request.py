"""One answered request by its id: in the inference tables, or still in the spool."""

import json
from collections.abc import Iterable
from pathlib import Path

import pyarrow.compute as pc

from mosaic_resources.delta.lake import Lake
from mosaic_resources.errors import UserError
from mosaic_resources.spool.frame import SpoolCorruptError
from mosaic_resources.spool.reader import read_records, segments

__all__ = ["find_request"]


def find_request(lake: Lake, tables: Iterable[str], spool: Path, request_id: str) -> dict[str, object]:
    """Returns the row of an answered request.

    Args:
        lake: The lake.
        tables: Tables to look in; those without a ``request_id`` are passed over.
        spool: Folder of the spools, for what was not drained yet.
        request_id: The id that the answer carried.

    Raises:
        UserError: No request of the id was logged.
    """
    for table in tables:
        if {"request_id", "served_entity_id"} <= set(lake.schema(table).names):
            rows = lake.read(table, filters=pc.field("request_id") == request_id).to_pylist()
            if rows:
                return dict(rows[0])
    for row in _waiting(spool, request_id):
        return row
    raise UserError(f"No request '{request_id}' was logged.", None, "An answer carries its id as 'request_id'.")


def _waiting(spool: Path, request_id: str) -> Iterable[dict[str, object]]:
    wanted = request_id.encode()
    services = sorted(folder.name for folder in spool.glob("*") if folder.is_dir())
    for segment in (segment for service in services for segment in segments(spool, service)):
        try:
            for payload, _ in read_records(segment.path):
                if wanted in payload and (row := json.loads(payload)).get("request_id") == request_id:
                    yield {**row, "service": segment.service}
        except SpoolCorruptError:
            continue  # The drain of that file says so; another file may hold the request.
