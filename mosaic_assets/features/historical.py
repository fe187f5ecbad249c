"""Historical features: an entity table joined, point in time, with the views of a feature service."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.features.asof import NOTHING, AsofState, Events, Ints
from mosaic_assets.features.views import FeatureService, FeatureView, column_name
from mosaic_resources.errors import UnknownNameError, UserError

__all__ = ["get_historical_features", "known_times", "microseconds", "required_columns"]


def get_historical_features(
    entity_df: pa.Table,
    service: FeatureService,
    read_view: Callable[[FeatureView], pa.Table],
    timestamp_field: str,
) -> pa.Table:
    """Returns ``entity_df`` with one column for each feature, as it was known at each row's time.

    Args:
        entity_df: Rows with the join keys and the time to look from.
        service: Features to add; columns are named ``view__feature``.
        read_view: Returns a view's rows: join keys, event time, known time, features.
        timestamp_field: Column of ``entity_df`` with the time (timestamp with zone); never NULL.

    Raises:
        UnknownNameError: A join key or the time column is missing.
        UserError: A key's type differs between the tables, or a time is NULL.
    """
    if timestamp_field not in entity_df.column_names:
        raise UnknownNameError("column", timestamp_field, entity_df.column_names, "entity_df")
    at = microseconds(entity_df[timestamp_field], timestamp_field)
    joined = entity_df
    for view, fields in service.views:
        rows = read_view(view)
        winner = _winners(entity_df, at, view, rows)
        for field in fields:
            joined = joined.append_column(column_name(view.name, field.name), _take(rows[field.name], winner))
    return joined


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


def _winners(entity_df: pa.Table, at: Ints, view: FeatureView, rows: pa.Table) -> Ints:
    label_key, event_key = _codes(entity_df, rows, view)
    event_ts, known_ts = known_times(view, rows)
    state = AsofState(label_key, at)
    state.add(Events(event_key, event_ts, known_ts, np.arange(rows.num_rows, dtype=np.int64)))
    return state.winners(None if view.ttl is None else int(view.ttl.total_seconds() * 1_000_000))


def _codes(entity_df: pa.Table, rows: pa.Table, view: FeatureView) -> tuple[Ints, Ints]:
    """Returns one int64 code for each row's composite key, on both sides; -1 where a part is NULL or unknown."""
    left, right = np.zeros(entity_df.num_rows, np.int64), np.zeros(rows.num_rows, np.int64)
    for key in view.join_keys:
        for side, table in (("entity_df", entity_df), (view.name, rows)):
            if key not in table.column_names:
                raise UnknownNameError("join key", key, table.column_names, side)
        _same_type(entity_df, rows, key, view.name)
        values = entity_df[key].unique().drop_null()
        size = len(values) + 1
        left, right = (
            _append(left, _index(entity_df[key], values), size),
            _append(right, _index(rows[key], values), size),
        )
        # Dense again after each key, so that any number of keys fits an int64.
        known, left_dense = np.unique(left, return_inverse=True)
        position = np.minimum(np.searchsorted(known, right), max(len(known) - 1, 0))
        right = np.where((right >= 0) & (known[position] == right), position, NOTHING) if len(known) else right
        left = np.where(left >= 0, left_dense, NOTHING)
    return left, right


def _append(code: Ints, part: Ints, size: int) -> Ints:
    return np.where((code >= 0) & (part >= 0), code * size + part, NOTHING)


def _index(column: pa.ChunkedArray, values: pa.Array) -> Ints:
    return np.asarray(pc.fill_null(pc.index_in(column, value_set=values, skip_nulls=True), NOTHING), np.int64)


def _same_type(entity_df: pa.Table, rows: pa.Table, key: str, view: str) -> None:
    left, right = entity_df.schema.field(key).type, rows.schema.field(key).type
    if left != right:
        raise UserError(f"Join key '{key}' is {left} in the entity table but {right} in the view.", view, "Cast one.")


def _take(column: pa.ChunkedArray, winner: Ints) -> pa.ChunkedArray:
    indices = pa.array(winner, mask=winner == NOTHING)
    return column.combine_chunks().take(indices) if len(column) else pa.nulls(len(winner), column.type)


def required_columns(view: FeatureView) -> Sequence[str]:
    """Returns the columns that a view's table must have."""
    known = [view.created_timestamp_column] if view.created_timestamp_column else []
    return [*view.join_keys, view.timestamp_field, *known, *(field.name for field in view.schema)]
