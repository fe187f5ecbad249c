"""Historical features: an entity table joined, point in time, with the views of a feature service."""

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.features.asof import NOTHING, AsofState, Events, Ints, LabelSlots, Located
from mosaic_assets.features.label_keys import LabelKeys
from mosaic_assets.features.views import FeatureService, FeatureView, column_name
from mosaic_resources.errors import UnknownNameError, UserError

__all__ = ["get_historical_features", "known_by", "known_times", "microseconds", "required_columns"]

TIME = pa.timestamp("us", tz="UTC")
MAX_THREADS = 4
BATCH_ROWS = 1 << 19


def get_historical_features(
    entity_df: pa.Table,
    service: FeatureService,
    read_view: Callable[[FeatureView], pa.Table],
    timestamp_field: str,
    num_threads: int | None = None,
) -> pa.Table:
    """Returns ``entity_df`` with one column for each feature, as it was known at each row's time.

    Args:
        entity_df: Rows with the join keys and the time to look from.
        service: Features to add; columns are named ``view__feature``.
        read_view: Returns a view's rows: join keys, event time, known time, features.
        timestamp_field: Column of ``entity_df`` with the time (timestamp with zone); never NULL.
        num_threads: Threads that locate events; default: the cores of this machine, at most four.

    Raises:
        UnknownNameError: A join key or the time column is missing.
        UserError: A key's type differs between the tables, or a time is NULL.
    """
    if timestamp_field not in entity_df.column_names:
        raise UnknownNameError("column", timestamp_field, entity_df.column_names, "entity_df")
    at = microseconds(entity_df[timestamp_field], timestamp_field)
    found: dict[str, pa.ChunkedArray] = {}
    with ThreadPoolExecutor(num_threads or min(os.cpu_count() or 1, MAX_THREADS)) as pool:
        for join_keys in dict.fromkeys(view.join_keys for view, _ in service.views):
            keys = LabelKeys(entity_df, join_keys)
            slots = LabelSlots(keys.codes, at)
            for view, fields in service.views:
                if view.join_keys == join_keys:
                    rows = read_view(view)
                    winner = _winners(keys, slots, view, rows, pool)
                    found |= {column_name(view.name, one.name): _take(rows[one.name], winner) for one in fields}
    for name in service.columns:
        entity_df = entity_df.append_column(name, found[name])
    return entity_df


def known_times(view: FeatureView, rows: pa.Table) -> tuple[Ints, Ints]:
    """Returns the (rows,) event and known times of a view in microseconds."""
    event = microseconds(rows[view.timestamp_field], f"{view.name}.{view.timestamp_field}")
    if view.created_timestamp_column is None:
        return event, event + int(view.known_delay.total_seconds() * 1_000_000)
    return event, microseconds(rows[view.created_timestamp_column], f"{view.name}.{view.created_timestamp_column}")


def known_by(view: FeatureView, rows: pa.Table, end_us: int) -> pa.Table:
    """Returns the rows of a view that are known at a time, microseconds UTC."""
    return rows.filter(pa.array(known_times(view, rows)[1] <= end_us))


def microseconds(column: pa.ChunkedArray, where: str) -> Ints:
    """Returns a timestamp column as (rows,) int64 microseconds UTC.

    Raises:
        UserError: The column is no timestamp with a zone, or has NULLs.
    """
    if not (pa.types.is_timestamp(column.type) and column.type.tz):
        raise UserError(
            f"The time column is {column.type}, not a timestamp with a zone.", where, "Cast it to timestamp."
        )
    if column.null_count:
        raise UserError(f"{column.null_count} times are NULL.", where, "Every row needs its time.")
    exact = column if column.type == TIME else pc.cast(column, TIME)
    return np.asarray(exact.view(pa.int64()) if isinstance(exact, pa.Array) else pc.cast(exact, pa.int64()))


def _winners(keys: LabelKeys, slots: LabelSlots, view: FeatureView, rows: pa.Table, pool: ThreadPoolExecutor) -> Ints:
    """Returns (labels,) int64 rows of the view: batches are located side by side and kept one after the other."""
    state = AsofState(slots)

    def located(batch: pa.RecordBatch, start: int) -> Located:
        event_ts, known_ts = known_times(view, batch)
        row = np.arange(start, start + batch.num_rows)
        return slots.locate(Events(keys.look_up(batch, view.name), event_ts, known_ts, row))

    waiting: deque[Future[Located]] = deque()
    start = 0
    for batch in _batches(rows, keys, view):
        waiting.append(pool.submit(located, batch, start))
        start += batch.num_rows
        if len(waiting) > MAX_THREADS:  # No more batches in memory than threads can use.
            state.keep(waiting.popleft().result())
    for one in waiting:
        state.keep(one.result())
    return state.winners(None if view.ttl is None else int(view.ttl.total_seconds() * 1_000_000))


def _batches(rows: pa.Table, keys: LabelKeys, view: FeatureView) -> Sequence[pa.RecordBatch]:
    """Returns what the kernel needs of a view, in pieces that are no copies; one empty piece of an empty view."""
    times = [view.timestamp_field, *([view.created_timestamp_column] if view.created_timestamp_column else [])]
    wanted = [name for name in dict.fromkeys([*keys.join_keys, *times]) if name in rows.column_names]
    needed = rows.select(wanted)
    return needed.to_batches(max_chunksize=BATCH_ROWS) or [pa.RecordBatch.from_pylist([], needed.schema)]


def _take(column: pa.ChunkedArray, winner: Ints) -> pa.ChunkedArray:
    indices = pa.array(winner, mask=winner == NOTHING)
    return column.combine_chunks().take(indices) if len(column) else pa.nulls(len(winner), column.type)


def required_columns(view: FeatureView) -> Sequence[str]:
    """Returns the columns that a view's table must have."""
    return [*view.row_key, *(field.name for field in view.schema)]
