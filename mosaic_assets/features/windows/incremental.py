"""A windowed view brought up to its source: what changed there, the rows that it touches, one commit."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.features.asof import NOTHING, Ints
from mosaic_assets.features.historical import microseconds
from mosaic_assets.features.label_keys import LabelKeys
from mosaic_assets.features.materialize import to_us
from mosaic_assets.features.windows.aggregations import WindowedView
from mosaic_assets.features.windows.rows import EVER, TIME, Bounds, view_schema, window_rows
from mosaic_resources.delta.changes import changes
from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.lake import Lake, Upsert
from mosaic_resources.errors import UnknownNameError, UserError

__all__ = ["Touched", "difference", "touched", "update"]

VERSION_BITS = 32
MAX_KEYS_IN_FILTER = 1000
ADDED = pa.array(["insert", "update_postimage"])


class Touched:
    """The keys whose rows may differ, and from when to when; both ends are touched.

    Args:
        keys: One row for each key, with ``low`` and ``high``, microseconds UTC.
        join_keys: The columns of the key.
    """

    def __init__(self, keys: pa.Table, join_keys: Sequence[str]) -> None:
        self._keys, self._join_keys = keys, tuple(join_keys)
        self._low, self._high = (np.asarray(keys[name]) for name in ("low", "high"))
        self._codes = LabelKeys(keys, join_keys)
        # Codes number the distinct keys; each stands in one row.
        self._order = np.argsort(self._codes.codes)

    def __len__(self) -> int:
        return int(self._keys.num_rows)

    def filter(self, column: str, before_us: int = 0) -> pc.Expression:
        """Returns a condition that all rows of these keys and times meet, ``before_us`` earlier ones too."""
        low, high = int(self._low.min()) - before_us, int(self._high.max())
        met = (pc.field(column) >= _time(low)) & (pc.field(column) <= _time(high))
        for name in self._join_keys:
            values = self._keys[name].unique()
            # Not of texts: the files' own least and largest text are of a type that Arrow does not compare with them.
            if len(values) <= MAX_KEYS_IN_FILTER and pa.types.is_integer(values.type):
                met &= pc.field(name).isin(values)
        return met

    def pick(self, rows: pa.Table, column: str, before_us: int = 0) -> tuple[pa.Table, Bounds]:
        """Returns the rows of these keys and times, ``before_us`` earlier ones too, and for each what is touched."""
        code = self._codes.look_up(rows, "windows")
        place = self._order[np.maximum(code, 0)]
        low, high, at = self._low[place], self._high[place], microseconds(rows[column], column)
        kept = np.flatnonzero((code != NOTHING) & (at >= low - before_us) & (at <= high))
        return rows.take(pa.array(kept)), Bounds(low[kept], high[kept])


def touched(view: WindowedView, events: pa.Table, span: tuple[int, int] = (-EVER, EVER)) -> Touched | None:
    """Returns the keys and times whose rows some events touch; None where there are none.

    Args:
        view: The view.
        events: Events that came or went.
        span: Event times that are asked for: from, to (not included), microseconds UTC.
    """
    join_keys = list(view.join_keys)
    at = pa.array(microseconds(events[view.timestamp_field], f"{view.source}.{view.timestamp_field}"))
    events = events.select(join_keys).append_column("at", at)
    for key in join_keys:
        events = events.filter(pc.is_valid(events[key]))
    ends = events.group_by(join_keys).aggregate([("at", "min"), ("at", "max")])
    low = np.maximum(np.asarray(ends["at_min"]), span[0])
    high = np.minimum(np.asarray(ends["at_max"]) + view.reach_us, span[1] - 1)
    kept = np.flatnonzero(low <= high)
    keys = ends.select(join_keys).take(pa.array(kept))
    keys = keys.append_column("low", pa.array(low[kept])).append_column("high", pa.array(high[kept]))
    return Touched(keys, join_keys) if len(kept) else None


def update(
    lake: Lake,
    view: WindowedView,
    version: int,
    commit: Commit,
    span: tuple[datetime, datetime] | None = None,
    partition: str = "",
) -> int:
    """Brings the view's table up to a version of its source and returns how many rows were written.

    How far it is lies in the ``txn`` of the rows' own commit, with a hash of the view and of the source's identity:
    another definition, or a source that was made anew, begins anew.

    Args:
        lake: The lake with source and view.
        view: The view.
        version: Version of the source.
        commit: Who commits.
        span: Event times of the rows, from and to (not included), of a partition; default: all.
        partition: Its key, under which the table remembers how far the partition is.

    Raises:
        UserError: A column is not there or of the wrong type, a time is NULL, or an event is known before it happens.
    """
    source, table = view.source, view.feature_view.source
    there = lake.schema(source, version).names
    for name in view.source_columns:
        if name not in there:
            raise UnknownNameError(f"column of '{source}'", name, there, table)
    schema = view_schema(view, lake.schema(source, version))
    mark = _mark(lake, view, schema)
    within = (-EVER, EVER) if span is None else (to_us(span[0]), to_us(span[1]))

    def read(last: int, there: int | None) -> Upsert | None:
        seen = last & ((1 << VERSION_BITS) - 1)
        offset, none = mark << VERSION_BITS | version, schema.empty_table()
        news = None
        if there is not None and last >> VERSION_BITS == mark:
            if seen >= version:
                return None
            news = _news(lake, view, seen, version)
            if news is not None and not news.num_rows:
                return None
        if news is None:
            rows = _all_rows(lake, view, version, within)
            if span is None:
                return Upsert(rows.sort_by("event_ts"), none, none, offset, replaces_all=True)
            time = (pc.field("event_ts") >= _time(within[0])) & (pc.field("event_ts") < _time(within[1]))
            old = none if there is None else _stored(lake, table, there, schema, time)
            return Upsert(*difference(rows, old, view.feature_view.row_key), offset)
        where = touched(view, news, within)
        if where is None or there is None:
            return Upsert(none, none, none, offset)
        reach, at = view.reach_us, view.timestamp_field
        events = lake.read(source, version, view.source_columns, where.filter(at, reach))
        new = window_rows(view, *where.pick(events, at, reach))
        old, _ = where.pick(_stored(lake, table, there, schema, where.filter("event_ts")), "event_ts")
        return Upsert(*difference(new, old, view.feature_view.row_key), offset)

    app = f"windows/{view.name}/{partition}" if partition else f"windows/{view.name}"
    return lake.merge_stream(table, app, read, view.feature_view.row_key, schema=schema, commit=commit)


def difference(new: pa.Table, old: pa.Table, row_key: Sequence[str]) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Returns the rows of ``new`` whose key ``old`` lacks, those whose values differ, and the rows that are gone."""
    if not old.num_rows:
        return new.sort_by("event_ts"), old, old
    sign = np.r_[np.ones(new.num_rows, np.int8), -np.ones(old.num_rows, np.int8)]
    both = pa.concat_tables([new, old]).append_column("_sign", pa.array(sign))
    sums = both.group_by(new.column_names, use_threads=False).aggregate([("_sign", "sum")])
    plus, minus = (sums.filter(mask(sums["_sign_sum"], 0)).select(new.column_names) for mask in (pc.greater, pc.less))
    is_new = pa.array(LabelKeys(minus, row_key).look_up(plus, "windows") == NOTHING)
    is_gone = pa.array(LabelKeys(plus, row_key).look_up(minus, "windows") == NOTHING)
    return plus.filter(is_new).sort_by("event_ts"), plus.filter(pc.invert(is_new)), minus.filter(is_gone)


def _news(lake: Lake, view: WindowedView, seen: int, version: int) -> pa.Table | None:
    """Returns the events that came or went, or None where that is not known any more; what came back is neither."""
    try:
        found = changes(lake, view.source, seen + 1, version)
    except UserError:
        return None
    kind, columns = found["_change_type"], view.source_columns
    came = np.asarray(pc.is_in(kind, ADDED).cast(pa.int8()), np.int8)
    signed = found.select(columns).append_column("_sign", pa.array(2 * came - 1))
    if len(came) == 0 or came.all():
        return signed.select(columns)
    sums = signed.group_by(columns).aggregate([("_sign", "sum")])
    return sums.filter(pc.not_equal(sums["_sign_sum"], 0)).select(columns)


def _all_rows(lake: Lake, view: WindowedView, version: int, within: tuple[int, int]) -> pa.Table:
    if within == (-EVER, EVER):
        return window_rows(view, lake.read(view.source, version, view.source_columns))
    at = pc.field(view.timestamp_field)
    near = (at >= _time(within[0] - view.reach_us)) & (at < _time(within[1]))
    events = lake.read(view.source, version, view.source_columns, near)
    ones: Ints = np.ones(events.num_rows, np.int64)
    return window_rows(view, events, Bounds(ones * within[0], ones * (within[1] - 1)))


def _stored(lake: Lake, table: str, version: int, schema: pa.Schema, filters: pc.Expression) -> pa.Table:
    stored = lake.schema(table, version)
    if set(stored.names) != set(schema.names):
        raise UserError(
            "The table holds other features than are declared now.", table,
            "A view with partitions keeps its features: give it another name, or remove the table and backfill.",
        )  # fmt: skip
    return lake.read(table, version, schema.names, filters).cast(schema)


def _mark(lake: Lake, view: WindowedView, schema: pa.Schema) -> int:
    """Returns a number of 31 bits, not 0, of everything that decides the rows beside the source's rows."""
    told = (view.join_keys, view.source, view.timestamp_field, view.created_timestamp_column, view.known_delay_us,
            view.aggregations, str(schema), lake.open(view.source).metadata().id)  # fmt: skip
    digest = blake2b(repr(told).encode(), digest_size=4).digest()
    return int.from_bytes(digest) >> 1 or 1


def _time(at_us: int) -> pa.Scalar:
    return pa.scalar(at_us, pa.int64()).cast(TIME)
