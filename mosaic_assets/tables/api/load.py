"""A service's records as a source of rows."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mosaic_assets.tables.cursor import CursorSource, CursorValue, parsed_rows
from mosaic_assets.tables.evolution import Columns, Evolution
from mosaic_assets.tables.sources.json_lines import columns_of_objects
from mosaic_assets.tables.sources.parsed import Parsed
from mosaic_resources.errors import UserError
from mosaic_resources.http.service import HttpService

__all__ = ["service_source"]


def service_source(
    service: HttpService,
    *,
    origin: str,
    columns: Columns,
    mode: Evolution,
    cursor: str | None,
    cursor_param: str | None,
    lag: float,
    rescued: str,
) -> CursorSource:
    """Returns the records of a service as a source; nested objects are kept whole as JSON text.

    Args:
        service: What is asked.
        origin: The service as it may be shown.
        columns: What is declared; a time that is a cursor must be, since JSON has none.
        mode: What becomes of columns that are not known.
        cursor: Column that grows; None: all records each time.
        cursor_param: Parameter that carries the cursor; None: all is asked for, and what is older is left out.
        lag: See ``CursorSource``.
        rescued: Name of the rescue column.
    """

    def fetch(start: CursorValue | None) -> Parsed:
        asked = {cursor_param: _shown(start)} if cursor_param and start is not None else {}
        return _parsed(list(service.rows(asked)), columns.paths, service.where)

    return CursorSource(fetch, origin, columns, mode, cursor, lag, rescued)


def _shown(value: CursorValue) -> str:
    if isinstance(value, datetime):
        utc = value.astimezone(UTC).replace(tzinfo=None)
        return f"{utc.isoformat(timespec='microseconds' if utc.microsecond else 'seconds')}Z"
    return str(value)


def _parsed(records: list[Any], paths: Mapping[str, tuple[str, ...]], where: str) -> Parsed:
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict):
            raise UserError(f"Record {number} is no object: {str(record)[:80]}.", where, "Check 'records'.")
    columns, kind_of = columns_of_objects(records, paths)
    return parsed_rows(columns, kind_of, len(records))
