"""The rows of a windowed view over events: the one function behind a full run, an incremental one, and the stream."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.features.historical import microseconds
from mosaic_assets.features.materialize import key_codes
from mosaic_assets.features.windows.aggregations import Aggregation, WindowedView
from mosaic_assets.features.windows.functions import Values, aggregate
from mosaic_assets.features.windows.points import Points, Versions, points_of, versions_of
from mosaic_assets.features.windows.ranges import Ints, SortedRows, pieces, spread
from mosaic_assets.value_types import FEATURE_TYPES
from mosaic_resources.errors import UserError

__all__ = ["Bounds", "event_times", "view_schema", "window_rows"]

TIME = pa.timestamp("us", tz="UTC")
EVER = 1 << 62  # microseconds; no event lies so far away
EVENTS_PER_PIECE = 1 << 17
MAX_THREADS = 4
PAIRS_PER_PIECE = 1 << 22


@dataclass(frozen=True)
class Bounds:
    """For each event, which rows of its key are asked for; both ends are.

    Args:
        low: (events,) int64, event time of the first row, microseconds UTC.
        high: (events,) int64, of the last one.
    """

    low: Ints
    high: Ints


def view_schema(view: WindowedView, source: pa.Schema) -> pa.Schema:
    """Returns the schema of the view's table: join keys, event time, known time, features."""
    keys = [pa.field(key, source.field(key).type) for key in view.join_keys]
    features = [pa.field(one.name, FEATURE_TYPES[one.field.dtype]) for one in view.aggregations]
    return pa.schema([*keys, pa.field("event_ts", TIME), pa.field("known_ts", TIME), *features])


def event_times(view: WindowedView, events: pa.Table) -> tuple[Ints, Ints]:
    """Returns the (events,) event and known times in microseconds.

    Raises:
        UserError: A time is NULL or without a zone, or an event is known before it happens.
    """
    event = microseconds(events[view.timestamp_field], f"{view.source}.{view.timestamp_field}")
    if view.created_timestamp_column is None:
        return event, event + view.known_delay_us
    known = microseconds(events[view.created_timestamp_column], f"{view.source}.{view.created_timestamp_column}")
    early = int((known < event).sum())
    if early:
        raise UserError(
            f"{early} events are known before they happen.", f"features/{view.name}",
            f"Mend '{view.created_timestamp_column}' of '{view.source}'.",
        )  # fmt: skip
    return event, known


def window_rows(view: WindowedView, events: pa.Table, bounds: Bounds | None = None) -> pa.Table:
    """Returns the rows of the view over some events, by key, event time and known time.

    Args:
        view: The view.
        events: Columns of the source, in any order; must hold all events of the windows that are asked for. Those
            with a NULL key are left out.
        bounds: Which rows are asked for; default: all.
    """
    schema = view_schema(view, events.schema)
    event, known = event_times(view, events)
    code = key_codes([events[key] for key in view.join_keys])
    order = np.lexsort((known, event, code))
    order = order[np.searchsorted(code[order], 0) :]

    def piece(part: Ints) -> pa.Table:
        rows = SortedRows(code[part] - code[part[0]], event[part], known[part])
        low, high = (
            (bounds.low[part], bounds.high[part]) if bounds else (np.full(len(part), -EVER), np.full(len(part), EVER))
        )
        return _piece(view, events.take(pa.array(part)), rows, Bounds(low, high))

    with ThreadPoolExecutor(min(os.cpu_count() or 1, MAX_THREADS)) as pool:
        made = list(pool.map(piece, _by_key(code, order)))
    return pa.concat_tables([schema.empty_table(), *(one.cast(schema) for one in made)]).combine_chunks()


def _by_key(code: Ints, order: Ints) -> Iterator[Ints]:
    """Yields pieces of the sorted events that do not cut a key."""
    if len(order):
        first = np.flatnonzero(np.r_[True, np.diff(code[order]) != 0])
        ends = np.r_[first[1:], len(order)]
        for keys in pieces(ends - first, EVENTS_PER_PIECE):
            yield order[first[keys][0] : ends[keys][-1]]


def _piece(view: WindowedView, events: pa.Table, rows: SortedRows, bounds: Bounds) -> pa.Table:
    longest = max(one.window_us for one in view.aggregations)
    delay = view.known_delay_us if view.created_timestamp_column is None else 0
    points = points_of(
        rows, slide_us=view.slide_us, longest_us=longest, delay_us=delay, low=bounds.low, high=bounds.high
    )
    starts = {one.window_us: _start(rows, points, one) for one in view.aggregations}
    versions = versions_of(rows, points, starts[longest])
    features = _features(view, events, rows, points, versions, starts)
    at = points.at[versions.point]
    # A row of the key; the point's last event, or where its windows are empty the one before them.
    keys = events.select(list(view.join_keys)).take(pa.array(points.end[versions.point] - 1))
    columns = {name: keys[name] for name in keys.column_names}
    times = {"event_ts": pa.array(at).cast(TIME), "known_ts": pa.array(versions.known).cast(TIME)}
    return pa.table({**columns, **times, **features})


def _start(rows: SortedRows, points: Points, one: Aggregation) -> Ints:
    """Returns (points,) the first event of each window: (at - window, at] rolling, [at - window, at) with a slide."""
    return rows.first_from(points.key, points.at - one.window_us + (0 if one.slide_us else 1))


def _features(
    view: WindowedView, events: pa.Table, rows: SortedRows, points: Points, versions: Versions, starts: dict[int, Ints]
) -> dict[str, pa.Array]:
    """Returns feature → (versions,) values.

    Where the events that a version knows are a range of rows, it is that range; else they are gathered.
    """
    longest = starts[max(starts)][versions.point]
    end = points.end[versions.point]
    in_order = versions.is_whole | rows.are_in_order(longest, end)
    cut = np.flatnonzero(in_order & ~versions.is_whole)
    end[cut] = rows.known_by(longest[cut], end[cut], versions.known[cut])
    loose = np.flatnonzero(~in_order)
    features = {}
    read: dict[tuple[str | None, str], tuple[Any, Values]] = {}
    for one in view.aggregations:
        form = one.function if one.function.startswith("count") else one.field.dtype
        if (one.column, form) not in read:
            read[one.column, form] = _values(events, one, rows)
        texts, column = read[one.column, form]
        start = starts[one.window_us][versions.point]
        start = np.where(in_order, start, 0)
        values, valid = aggregate(one.function, column, np.minimum(start, end), np.where(in_order, end, 0))
        for piece in pieces(end[loose] - longest[loose], PAIRS_PER_PIECE):
            some = loose[piece]
            owner, row = spread(longest[some], end[some])
            is_known = rows.known[row] <= versions.known[some][owner]
            owner, row = owner[is_known], row[is_known]
            stop = np.cumsum(np.bincount(owner, minlength=len(some)))
            outside = np.bincount(owner[row < starts[one.window_us][versions.point[some]][owner]], minlength=len(some))
            begin = stop - np.bincount(owner, minlength=len(some)) + outside
            values[some], valid[some] = aggregate(one.function, column.take(row), begin, stop)
        features[one.name] = _feature(one, values, valid, texts)
    return features


def _values(events: pa.Table, one: Aggregation, rows: SortedRows) -> tuple[Sequence[Any] | None, Values]:
    """Returns the column as numbers, and for texts what the numbers stand for, in order."""
    moment = np.cumsum(
        np.r_[False, (np.diff(rows.key) != 0) | (np.diff(rows.event) != 0) | (np.diff(rows.known) != 0)][: len(rows)]
    )
    if one.column is None:
        return None, Values(moment, np.ones(len(rows), bool), moment)
    column = events[one.column].combine_chunks()
    if one.function not in ("count", "count_distinct") and one.field.dtype != "string":
        return None, Values(*_numbers(one, column), moment)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    valid = np.asarray(pc.is_valid(column))
    if one.function == "count":
        return None, Values(moment, valid, moment)
    encoded = column.dictionary_encode()
    codes = np.asarray(pc.fill_null(encoded.indices, 0), np.int64)
    if one.function == "count_distinct" or not len(encoded.dictionary):
        return [], Values(codes, valid, moment)
    texts = _cast(one, encoded.dictionary, pa.string()).to_pylist()
    order = sorted(range(len(texts)), key=texts.__getitem__)
    return [texts[i] for i in order], Values(np.argsort(order)[codes], valid, moment)


def _numbers(one: Aggregation, column: pa.Array) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    wanted = FEATURE_TYPES[one.field.dtype]
    cast = _cast(one, column, wanted)
    valid = np.asarray(pc.is_valid(cast))
    if wanted != pa.float64():
        whole = pc.cast(cast, pa.int64())
        return np.asarray(pc.fill_null(whole, 0)), valid
    values = np.asarray(pc.fill_null(cast, np.nan)) + 0.0  # no negative zero: max would take either
    return values, valid & ~np.isnan(values)


def _cast(one: Aggregation, column: pa.Array, wanted: pa.DataType) -> pa.Array:
    try:
        return pc.cast(column, wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as exc:
        raise UserError(
            f"Column '{one.column}' is {column.type}, not {one.field.dtype}: {exc}.", f"feature '{one.name}'",
            "Cast it in the source, or declare another 'dtype'.",
        ) from exc  # fmt: skip


def _feature(
    one: Aggregation, values: npt.NDArray[Any], valid: npt.NDArray[np.bool_], texts: Sequence[Any] | None
) -> pa.Array:
    wanted = FEATURE_TYPES[one.field.dtype]
    if one.field.dtype == "string":
        return pc.take(pa.array(texts or [], pa.string()), pa.array(values.astype(np.int64), mask=~valid))
    made = pa.array(values, mask=~valid)
    return pc.cast(made, wanted) if made.type != wanted else made
