"""How the windows of the training rows drift among themselves: each of them against the first ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.monitors.baseline import Baseline
from mosaic_assets.monitors.fit_baseline import MIN_WINDOW_ROWS
from mosaic_assets.monitors.windows import window_starts

__all__ = ["HistoryDrift", "history_drift", "num_first_windows"]


@dataclass(frozen=True)
class HistoryDrift:
    """Population stability index of the training rows' own windows.

    Args:
        first: Starts of the windows that all are compared with, in order.
        series: Column → (window start, PSI) pairs, in order of time.
    """

    first: tuple[datetime, ...]
    series: Mapping[str, Sequence[tuple[datetime, float]]]

    def worst(self, num_columns: int) -> dict[str, float]:
        """Returns column → its largest PSI, for the columns that drift most."""
        largest = {name: max(value for _, value in points) for name, points in self.series.items() if points}
        return dict(sorted(largest.items(), key=lambda one: -one[1])[:num_columns])


def num_first_windows(num_windows: int) -> int:
    """Returns how many windows the others are compared with: two thirds, so January to April of half a year."""
    return max(1, num_windows * 2 // 3)


def history_drift(baseline: Baseline, rows: pa.Table, timestamp_col: str) -> HistoryDrift | None:
    """Returns the drift of each window of the baseline's rows; None where there is nothing to compare.

    ``Baseline.within`` says how far windows may lie from the rest; this says which way they went.

    Args:
        baseline: Fitted on the rows; its edges are used.
        rows: The training rows.
        timestamp_col: Column of the rows' time.
    """
    starts = window_starts(rows[timestamp_col], baseline.granularity)
    counted = pc.value_counts(starts.drop_null()).to_pylist()
    windows = sorted(one["values"] for one in counted if one["counts"] >= MIN_WINDOW_ROWS)
    if len(windows) < 2:
        return None
    first = tuple(windows[: num_first_windows(len(windows))])
    parts = {start: rows.filter(pc.equal(starts, start)) for start in windows}
    series: dict[str, list[tuple[datetime, float]]] = {}
    for column in baseline.columns:
        reference = column.count(pa.chunked_array([c for s in first for c in parts[s][column.name].chunks]))
        for start in windows:
            far = column.distances(column.count(parts[start][column.name]), reference=reference)
            if far.population_stability_index is not None:
                series.setdefault(column.name, []).append((start, far.population_stability_index))
    return HistoryDrift(first, series)
