"""The newest requests of an inference table, where there is one."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from mosaic_resources.delta.lake import Lake

__all__ = ["newest_requests"]

MAX_REQUESTS = 10_000


def newest_requests(lake: Lake, table: str | None, max_rows: int = MAX_REQUESTS) -> Sequence[str] | None:
    """Returns the bodies of the newest requests that were answered, as logged; None where nothing is logged yet.

    Args:
        lake: The lake.
        table: The inference table, partitioned by ``date``; None: none is declared.
        max_rows: Most requests to return.
    """
    if table is None or not lake.exists(table):
        return None
    days = pc.value_counts(lake.read(table, columns=["date"])["date"]).to_pylist()
    newest: list[str] = []
    num_rows = 0
    for day in sorted(days, key=lambda one: str(one["values"]), reverse=True):
        if num_rows >= max_rows:
            break
        newest.append(day["values"])
        num_rows += day["counts"]
    columns = ["request", "timestamp_ms", "status_code"]
    rows = lake.read(table, columns=columns, filters=pc.field("date").isin(pa.array(newest, pa.string())))
    rows = rows.filter(pc.equal(rows["status_code"], 200)).sort_by("timestamp_ms")
    texts: list[str] = rows["request"].slice(max(0, rows.num_rows - max_rows)).to_pylist()
    return texts
