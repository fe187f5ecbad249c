"""Windows of time: the granularities, the window that a row lies in, a slice of its rows."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["GRANULARITIES", "Granularity", "Slice", "window_before", "window_end", "window_starts"]

Granularity = Literal["1 hour", "1 day", "1 week", "1 month"]
GRANULARITIES: tuple[Granularity, ...] = get_args(Granularity)


def window_starts(times: pa.ChunkedArray, granularity: Granularity) -> pa.ChunkedArray:
    """Returns the start of each row's window, timestamp[us, UTC]; weeks start on Monday.

    Args:
        times: (rows,) timestamps; those without a zone are UTC.
        granularity: Length of a window.
    """
    unit = granularity.removeprefix("1 ")
    utc = times.cast(pa.timestamp("us", tz="UTC"))
    return pc.floor_temporal(utc, unit=unit, week_starts_monday=True)


def window_before(start: datetime, granularity: Granularity) -> datetime:
    """Returns the start of the window before the one that starts at ``start``."""
    if granularity == "1 month":
        return (start - timedelta(days=1)).replace(day=1)
    return start - (window_end(start, granularity) - start)


def window_end(start: datetime, granularity: Granularity) -> datetime:
    """Returns the end of the window that starts at ``start``; the end is not part of it."""
    if granularity == "1 month":
        return start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    return start + {"1 hour": timedelta(hours=1), "1 day": timedelta(days=1), "1 week": timedelta(weeks=1)}[granularity]


@dataclass(frozen=True)
class Slice:
    """Which rows a figure or a profile is of.

    Args:
        start: Start of the window, UTC.
        granularity: Length of the window.
        model_version: Version whose rows they are; empty: all.
        key: Column that is sliced by; None: all rows.
        value: Its value.
    """

    start: datetime
    granularity: Granularity
    model_version: str = ""
    key: str | None = None
    value: str | None = None

    @property
    def head(self) -> dict[str, Any]:
        """The columns that both metric tables begin with."""
        return {
            "month": self.start.strftime("%Y-%m"),
            "window": {"start": self.start, "end": window_end(self.start, self.granularity)},
            "granularity": self.granularity,
            "model_version": self.model_version,
            "slice_key": self.key,
            "slice_value": self.value,
        }

    @classmethod
    def of(cls, row: dict[str, Any]) -> "Slice":
        """Returns the slice that a row of a metric table is of."""
        names = ("granularity", "model_version", "slice_key", "slice_value")
        return cls(row["window"]["start"], *(row[name] for name in names))

    @property
    def path(self) -> str:
        """Path of its profile below a store: ``1_month/2013-07-01/all.bin``, ``1_day/2013-07-01/origin=JFK.bin``."""
        when = self.start.strftime("%Y-%m-%dT%H" if self.granularity == "1 hour" else "%Y-%m-%d")
        parts = [f"v{self.model_version}"] if self.model_version else []
        parts += [f"{self.key}={self.value}"] if self.key is not None else []
        stem = re.sub(r"[^\w=.-]", "_", "__".join(parts) or "all")
        return f"{self.granularity.replace(' ', '_')}/{when}/{stem}.bin"
