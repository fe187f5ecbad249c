"""Profiles of a table by window and slice: made for the shortest windows, merged for the longer ones."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.monitors.metrics_tables import profile_rows_of
from mosaic_assets.monitors.profile_store import ProfileStore
from mosaic_assets.monitors.profiles import Profile, merge_profiles, profile_rows
from mosaic_assets.monitors.windows import GRANULARITIES, Granularity, Slice, window_starts
from mosaic_resources.errors import UnknownNameError, UserError

__all__ = ["Watched", "make_profiles"]

MAX_SLICE_VALUES = 50


@dataclass(frozen=True)
class Watched:
    """How a table is cut and what of it is profiled.

    Args:
        columns: Columns to profile.
        timestamp_col: Time of a row; None: the rows are a snapshot of ``evaluated_at``.
        granularities: Lengths of windows; those that are longer are merged from the shortest.
        slicing_columns: Columns each value of which is a slice of its own.
    """

    columns: tuple[str, ...]
    timestamp_col: str | None
    granularities: tuple[Granularity, ...]
    slicing_columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.granularities:
            if name not in GRANULARITIES:
                raise UnknownNameError("granularity", name, GRANULARITIES)
        if not self.granularities:
            raise UserError("A monitor needs at least one granularity.", do="Add '1 day'.")
        if self.shortest == "1 week" and "1 month" in self.granularities:
            raise UserError("Months cannot be merged from weeks.", do="Add '1 day' to the granularities.")

    @property
    def shortest(self) -> Granularity:
        """The granularity that rows are profiled by."""
        return min(self.granularities, key=GRANULARITIES.index)


def make_profiles(
    rows: pa.Table, watched: Watched, store: ProfileStore, *, tags: Mapping[str, str], evaluated_at: datetime
) -> list[dict[str, Any]]:
    """Profiles the rows by window and slice, keeps the profiles, and returns the rows of ``_profile_metrics``.

    Args:
        rows: The rows to profile.
        watched: How to cut them.
        store: Where profiles are kept; profiles of the same windows are replaced.
        tags: Texts kept in each profile.
        evaluated_at: The clock's time.

    Raises:
        UnknownNameError: The rows lack a column.
    """
    starts = _starts(rows, watched, evaluated_at)
    made: list[dict[str, Any]] = []
    for key, value, part in _slices(rows.append_column("__start", starts), watched.slicing_columns):
        shortest = {
            start: profile_rows(part.filter(pc.equal(part["__start"], start)), watched.columns, start.as_py(), tags)
            for start in pc.unique(part["__start"].drop_null())
        }
        for granularity in watched.granularities:
            for start, profile in _merged(shortest, granularity):
                where = Slice(start, granularity, key=key, value=value)
                path = store.write(where, profile)
                made += profile_rows_of(profile, where, profile_path=path, evaluated_at=evaluated_at)
    return made


def _starts(rows: pa.Table, watched: Watched, evaluated_at: datetime) -> pa.ChunkedArray:
    times = [watched.timestamp_col] if watched.timestamp_col else []
    for name in (*watched.columns, *watched.slicing_columns, *times):
        if name not in rows.column_names:
            raise UnknownNameError("column", name, rows.column_names, "monitored rows")
    if watched.timestamp_col is not None:
        return window_starts(rows[watched.timestamp_col], watched.shortest)
    now = pa.scalar(evaluated_at, pa.timestamp("us", tz="UTC"))
    return window_starts(pa.chunked_array([pa.repeat(now, len(rows))]), watched.shortest)


def _slices(rows: pa.Table, columns: Sequence[str]) -> Iterator[tuple[str | None, str | None, pa.Table]]:
    yield None, None, rows
    for name in columns:
        counted = pc.value_counts(rows[name].cast(pa.string())).to_pylist()
        common = sorted(counted, key=lambda pair: (-pair["counts"], str(pair["values"])))[:MAX_SLICE_VALUES]
        for value in (pair["values"] for pair in common if pair["values"] is not None):
            yield name, value, rows.filter(pc.equal(rows[name].cast(pa.string()), value))


def _merged(shortest: Mapping[Any, Profile], granularity: Granularity) -> list[tuple[datetime, Profile]]:
    groups: dict[datetime, list[Profile]] = {}
    for start, profile in shortest.items():
        longer = window_starts(pa.chunked_array([pa.array([start.as_py()], start.type)]), granularity)[0].as_py()
        groups.setdefault(longer, []).append(profile)
    return [(start, merge_profiles(groups[start])) for start in sorted(groups)]
