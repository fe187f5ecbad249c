"""The same windows while events come: what a push and the passing of time make of the rows that requests look up."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.features.asof import NOTHING, Ints
from mosaic_assets.features.historical import microseconds
from mosaic_assets.features.label_keys import LabelKeys
from mosaic_assets.features.windows.aggregations import WindowedView
from mosaic_assets.features.windows.rows import EVER, Bounds, event_times, view_schema, window_rows
from mosaic_resources.errors import UserError

__all__ = ["WindowStream"]


class WindowStream:
    """The events that the newest rows of a view, and those after them, stand on.

    Of a key with a row at time t it holds the events that windows ending at t or later may have, so an event that is
    late by however much changes what it changes in the view's table, and nothing else is kept.

    Args:
        view: The view.
        events: Events so far, with the source's columns.
        now_us: Time up to which they are taken in, microseconds UTC.
    """

    def __init__(self, view: WindowedView, events: pa.Table, now_us: int) -> None:
        self.view = view
        self._join_keys = list(view.join_keys)
        self._events = events.select(view.source_columns).slice(0, 0)
        schema = view_schema(view, events.schema)
        self._waiting = schema.empty_table()
        self._newest = schema.empty_table().select([*self._join_keys, "event_ts"])  # one row for each key
        self.first = self.push(events, now_us)

    @property
    def num_events(self) -> int:
        """How many events it holds."""
        return int(self._events.num_rows)

    def push(self, events: pa.Table, now_us: int) -> pa.Table:
        """Takes events in and returns the view's rows that are known by now and were not, or have changed.

        Raises:
            UserError: A column is missing or of another type, a time is NULL, or an event is known before it happens.
        """
        came = self._of_source(events)
        for key in self._join_keys:
            came = came.filter(pc.is_valid(came[key]))
        event_times(self.view, came)
        keys = LabelKeys(came, self._join_keys)
        held = pa.concat_tables([self._events, came])
        mine = _have(keys, held)
        touched, self._events = held.filter(mine), held.filter(pc.invert(mine))
        low = self._newest_of(touched)
        rows = window_rows(self.view, touched, Bounds(low, np.full(len(low), EVER)))
        self._events = pa.concat_tables([self._events, touched])
        self._waiting = pa.concat_tables([self._waiting.filter(pc.invert(_have(keys, self._waiting))), rows])
        return self.advance(now_us)

    def advance(self, now_us: int) -> pa.Table:
        """Returns the view's rows that have become known by now, and forgets what no later row stands on."""
        known = pa.array(microseconds(self._waiting["known_ts"], "known_ts") <= now_us)
        due, self._waiting = self._waiting.filter(known), self._waiting.filter(pc.invert(known))
        if due.num_rows:
            both = pa.concat_tables([self._newest, due.select(self._newest.column_names)])
            newest = both.group_by(self._join_keys).aggregate([("event_ts", "max")])
            self._newest = newest.rename_columns([*self._join_keys, "event_ts"])
            at = microseconds(self._events[self.view.timestamp_field], self.view.timestamp_field)
            self._events = self._events.filter(pa.array(at >= self._newest_of(self._events) - self.view.reach_us))
        return due

    def _newest_of(self, rows: pa.Table) -> Ints:
        """Returns (rows,) the event time of the newest known row of each row's key; long ago where it has none."""
        if not self._newest.num_rows:
            return np.full(rows.num_rows, -EVER)
        keys = LabelKeys(self._newest, self._join_keys)
        at = np.full(self._newest.num_rows + 1, -EVER)  # the last place is for keys without a row
        at[keys.codes] = microseconds(self._newest["event_ts"], "event_ts")
        code = keys.look_up(rows, self.view.name)
        return np.asarray(at[np.where(code == NOTHING, len(at) - 1, code)])

    def _of_source(self, events: pa.Table) -> pa.Table:
        wanted: Sequence[str] = self._events.column_names
        missing = [name for name in wanted if name not in events.column_names]
        if missing:
            raise UserError(
                f"The events lack column '{missing[0]}'.",
                f"view '{self.view.name}'",
                f"They need: {', '.join(wanted)}.",
            )
        try:
            return events.select(wanted).cast(self._events.schema)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as exc:
            raise UserError(
                f"The events do not fit '{self.view.source}': {exc}.", f"view '{self.view.name}'", "Cast them."
            ) from exc


def _have(keys: LabelKeys, rows: pa.Table) -> pa.Array:
    return pa.array(keys.look_up(rows, "windows") != NOTHING)
