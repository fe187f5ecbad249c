"""Historical features: an entity table joined, point in time, with the views of a feature service."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.features.asof import NOTHING, AsofState, Events, Ints, LabelSlots
from mosaic_assets.features.label_keys import LabelKeys
from mosaic_assets.features.views import FeatureService, FeatureView, column_name
from mosaic_resources.errors import UnknownNameError, UserError

__all__ = ["get_historical_features", "known_times", "microseconds", "required_columns"]

MAX_THREADS = 4
BATCH_ROWS = 1 << 20


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
    return np.asarray(pc.cast(pc.cast(column, pa.timestamp("us", tz="UTC")), pa.int64()))


def _winners(keys: LabelKeys, slots: LabelSlots, view: FeatureView, rows: pa.Table, pool: ThreadPoolExecutor) -> Ints:
    """Returns (labels,) int64 rows of the view: batches are located side by side and kept one after the other."""
    state = AsofState(slots)

    def located(start: int) -> tuple[Ints, Events]:
        batch = rows.slice(start, BATCH_ROWS)
        event_ts, known_ts = known_times(view, batch)
        row = np.arange(start, start + batch.num_rows)
        return slots.locate(Events(keys.look_up(batch, view.name), event_ts, known_ts, row))

    for slot, events in pool.map(located, range(0, max(rows.num_rows, 1), BATCH_ROWS)):
        state.keep(slot, events)
    return state.winners(None if view.ttl is None else int(view.ttl.total_seconds() * 1_000_000))


def _take(column: pa.ChunkedArray, winner: Ints) -> pa.ChunkedArray:
    indices = pa.array(winner, mask=winner == NOTHING)
    return column.combine_chunks().take(indices) if len(column) else pa.nulls(len(winner), column.type)


def required_columns(view: FeatureView) -> Sequence[str]:
    """Returns the columns that a view's table must have."""
    known = [view.created_timestamp_column] if view.created_timestamp_column else []
    return [*view.join_keys, view.timestamp_field, *known, *(field.name for field in view.schema)]
