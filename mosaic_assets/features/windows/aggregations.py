"""What an aggregation over a window is, and what a view of them is."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, get_args

from mosaic_assets.features.declarations import duration, fields_of
from mosaic_assets.features.views import Entity, FeatureView, Field
from mosaic_resources.errors import UnknownNameError, UserError

__all__ = ["FUNCTIONS", "Aggregation", "Kind", "WindowedView", "aggregation_of"]

Kind = Literal["tumbling", "sliding", "rolling"]
# Function → type of its feature; None: the type that is declared, float64 by default.
FUNCTIONS: Mapping[str, str | None] = {
    "count": "int64",
    "sum": "float64",
    "mean": "float64",
    "min": None,
    "max": None,
    "stddev": "float64",
    "last": None,
    "count_distinct": "int64",
}
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Aggregation:
    """One feature: a function of a column's values in a window.

    Args:
        name: Name of the feature.
        function: One of ``FUNCTIONS``; all leave out NULL and NaN.
        column: Column of the source; None with ``count``: rows are counted.
        window_us: Length of the window in microseconds.
        slide_us: Distance of the windows' ends in microseconds; 0: a window ends at each event.
        field: The feature as the view declares it.
    """

    name: str
    function: str
    column: str | None
    window_us: int
    slide_us: int
    field: Field


def aggregation_of(
    *, function: str, column: str | None, window: str, kind: str, slide: str | None, name: str | None,
    dtype: str | None, where: str,
) -> Aggregation:  # fmt: skip
    """Returns the aggregation that a declaration says.

    Raises:
        UnknownNameError: The function, the kind or the type is unknown.
        UserError: A duration is malformed, the windows do not fit the slide, or the column is missing.

    Example:
        >>> mean = aggregation_of(function="mean", column="arr_delay", window="3h", kind="rolling", slide=None,
        ...                       name=None, dtype=None, where="here")
        >>> mean.name, mean.field.dtype
        ('mean_arr_delay_3h', 'float64')
    """
    if function not in FUNCTIONS:
        raise UnknownNameError("function", function, FUNCTIONS, where)
    if kind not in get_args(Kind):
        raise UnknownNameError("kind of window", kind, get_args(Kind), where)
    if column is None and function != "count":
        raise UserError(f"'{function}' needs a column.", where, "Name the column that it is taken of.")
    own = FUNCTIONS[function]
    if own and dtype and dtype != own:
        raise UserError(f"'{function}' is always {own}.", where, "Leave 'dtype' out.")
    window_us, slide_us = _microseconds(window, where), _slide(kind, window, slide, where)
    if slide_us and window_us % slide_us:
        raise UserError(f"A window of {window} is no multiple of its slide {slide}.", where, "Make it one.")
    named = name or "_".join(filter(None, (function, column, re.sub(r"\s", "", window))))
    (field,) = fields_of({named: own or dtype or "float64"}, where)
    if field.dtype == "string" and function != "last":
        raise UserError(f"'{function}' of texts is no feature.", where, "Only 'last' may be a string.")
    return Aggregation(named, function, column, window_us, slide_us, field)


def _slide(kind: str, window: str, slide: str | None, where: str) -> int:
    if (kind == "sliding") != (slide is not None):
        needed = "needs" if kind == "sliding" else "has no"
        raise UserError(f"A {kind} window {needed} 'slide'.", where, "Sliding windows alone have one, for instance 1h.")
    return {"rolling": 0, "tumbling": _microseconds(window, where)}.get(kind) or (
        _microseconds(slide, where) if slide else 0
    )


def _microseconds(text: str, where: str) -> int:
    length = duration(text, where)
    if not length:
        raise UserError(f"'{text}' is no length of a window.", where, "Write more than nothing, for instance 3h.")
    return length // MICROSECOND


@dataclass(frozen=True)
class WindowedView:
    """A feature view whose rows are windows over a source table.

    Args:
        name: Name of the view.
        entities: What the rows describe.
        source: Table of the events.
        timestamp_field: Column of their event time.
        created_timestamp_column: Column of their known time; None when ``known_delay_us`` says it.
        known_delay_us: Microseconds until an event is known.
        aggregations: The features; all have the same slide.
        ttl: How long after its event time a row may be used.
        online: Whether it is kept in the online store.
    """

    name: str
    entities: tuple[Entity, ...]
    source: str
    timestamp_field: str
    created_timestamp_column: str | None
    known_delay_us: int
    aggregations: tuple[Aggregation, ...]
    ttl: timedelta | None = None
    online: bool = True

    @classmethod
    def checked(cls, view: "WindowedView", places: Sequence[str]) -> "WindowedView":
        """Returns the view, after checking that its aggregations go together.

        Args:
            view: The view.
            places: ``file:line`` of each aggregation.

        Raises:
            UserError: There is none, two share a name, or their slides differ.
        """
        if not view.aggregations:
            raise UserError(f"StreamFeatureView '{view.name}' has no aggregations.", places[0] if places else None)
        seen = {*view.join_keys, "event_ts", "known_ts"}
        for one, place in zip(view.aggregations, places, strict=True):
            if one.name in seen:
                raise UserError(f"A feature or key '{one.name}' is there already.", place, "Give it another 'name'.")
            seen.add(one.name)
            if one.slide_us != view.slide_us:
                raise UserError(
                    "The aggregations of a view end their windows at the same times.",
                    place,
                    "Give all the same kind and slide, or declare a second view.",
                )
        return view

    @property
    def join_keys(self) -> tuple[str, ...]:
        """The columns that find a row."""
        return tuple(key for entity in self.entities for key in entity.join_keys)

    @property
    def slide_us(self) -> int:
        """Distance of the windows' ends in microseconds; 0: at each event."""
        return self.aggregations[0].slide_us

    @property
    def reach_us(self) -> int:
        """How far from an event, in microseconds, a row may lie that it touches."""
        return max(one.window_us for one in self.aggregations) + self.slide_us

    @property
    def source_columns(self) -> list[str]:
        """The columns of the source that are read."""
        times = [self.timestamp_field, self.created_timestamp_column]
        used = [one.column for one in self.aggregations]
        return list(dict.fromkeys(name for name in (*self.join_keys, *times, *used) if name))

    @property
    def feature_view(self) -> FeatureView:
        """What the point-in-time join and the online store see."""
        schema = tuple(one.field for one in self.aggregations)
        return FeatureView(
            self.name, self.entities, schema, f"features/{self.name}", "event_ts", "known_ts", timedelta(0),
            self.ttl, self.online,
        )  # fmt: skip
