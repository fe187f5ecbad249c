"""A window against a baseline, column by column: distances, and which of them are alarms."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from mosaic_assets.monitors.drift import (
    Floats,
    chi_squared_statistic,
    js_distance,
    ks_distance,
    population_stability_index,
    tv_distance,
    wasserstein_distance,
)

__all__ = ["ALARM_METRICS", "Alarm", "Counts", "Distances", "alarms_of", "compare"]

# Metrics without a unit; the others depend on the number of rows or on the column's unit.
ALARM_METRICS = (
    "population_stability_index",
    "ks_test",
    "js_distance",
    "tv_distance",
    "null_share_change",
    "new_category_share",
)


@dataclass(frozen=True)
class Counts:
    """Rows of one column over a baseline's bins.

    Args:
        num_rows: All rows.
        num_missing: Rows with NULL or NaN.
        bins: (bins,) coarse bins, or categories with all others last.
        fine_bins: (fine bins,) for numbers, else None.
        new_share: Share of the values whose text the baseline does not know.
    """

    num_rows: int
    num_missing: int
    bins: Floats
    fine_bins: Floats | None
    new_share: float

    def __sub__(self, other: "Counts") -> "Counts":
        """Returns the counts of the rows of this that are not in ``other``, a part of it."""
        fine = None if self.fine_bins is None or other.fine_bins is None else self.fine_bins - other.fine_bins
        left = self.num_rows - other.num_rows, self.num_missing - other.num_missing
        return Counts(*left, self.bins - other.bins, fine, self.new_share)

    @property
    def missing_share(self) -> float:
        """Share of the rows without a value."""
        return self.num_missing / self.num_rows if self.num_rows else 0.0


@dataclass(frozen=True)
class Distances:
    """How far a window is from its reference. None: one side has no values, or the metric is not for this kind.

    Args:
        null_share_change: Missing share of the window minus that of the reference.
        new_category_share: Share of values whose text the reference does not know.
    """

    population_stability_index: float | None
    ks_test: float | None
    js_distance: float | None
    tv_distance: float | None
    chi_squared_test: float | None
    wasserstein_distance: float | None
    null_share_change: float | None
    new_category_share: float | None

    def values(self) -> dict[str, float]:
        """Returns metric → value of those that are there."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True)
class Alarm:
    """A column whose distance is over its threshold."""

    column: str
    metric: str
    value: float
    threshold: float


def compare(reference: Counts, current: Counts, fine_edges: Floats) -> Distances:
    """Returns all distances of one column.

    Args:
        reference: Counts of the baseline, or of another window over the baseline's bins.
        current: Counts of the window over the same bins.
        fine_edges: (fine edges,) for numbers; empty for texts.
    """
    fine = None
    if reference.fine_bins is not None and current.fine_bins is not None:
        fine = reference.fine_bins, current.fine_bins
    has_rows = bool(reference.num_rows and current.num_rows)
    return Distances(
        population_stability_index=population_stability_index(reference.bins, current.bins),
        ks_test=ks_distance(*fine) if fine else None,
        js_distance=js_distance(reference.bins, current.bins),
        tv_distance=tv_distance(reference.bins, current.bins),
        chi_squared_test=chi_squared_statistic(reference.bins, current.bins),
        wasserstein_distance=wasserstein_distance(*fine, fine_edges) if fine else None,
        null_share_change=current.missing_share - reference.missing_share if has_rows else None,
        new_category_share=None if fine or not has_rows else current.new_share,
    )


def alarms_of(
    column: str, distances: Distances, thresholds: Mapping[str, float], within: Mapping[str, float]
) -> list[Alarm]:
    """Returns the metrics of a column that are over their threshold, in units of it the largest first.

    Args:
        column: Name of the column.
        distances: Of the window against the baseline.
        thresholds: Metric → declared threshold, one of ``ALARM_METRICS``.
        within: Metric → distance that the baseline's own windows already have among each other; raises the threshold.
    """
    values, found = distances.values(), []
    for metric, declared in thresholds.items():
        threshold = max(declared, within.get(metric, 0.0))
        if metric in values and abs(values[metric]) > threshold:
            found.append(Alarm(column, metric, values[metric], threshold))
    return sorted(found, key=lambda alarm: -abs(alarm.value) / np.maximum(alarm.threshold, 1e-12))
