"""Profiles in whylogs' format; the only file that imports whylogs."""

import importlib.util
import os
import sys
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mosaic_assets.monitors.profile_feed import column_view
from mosaic_resources.errors import UnknownNameError, UserError, missing_extra
from mosaic_resources.telemetry import without_telemetry

__all__ = ["ColumnStats", "Profile", "library", "merge_profiles", "profile_rows"]

# Up to 0.75 * 2**13 distinct texts are counted exactly; whylogs' default of 2**10 is too few for tail numbers.
FREQUENT_LOG2_SIZE = 13


@cache
def library() -> types.SimpleNamespace:
    """Returns whylogs' classes, with telemetry off and its two breaks with today's world mended.

    ``np.unicode_`` is gone from NumPy 2. ``whylogs.viz`` imports IPython although its drift functions do not need it,
    so where IPython is missing an empty package with the same path stands in.

    Raises:
        DependencyError: The extra ``monitor`` is not installed.
    """
    os.environ.update(without_telemetry(os.environ))
    if not hasattr(np, "unicode_"):
        np.unicode_ = np.str_  # type: ignore[attr-defined]
    spec = importlib.util.find_spec("whylogs")
    if spec is None or spec.submodule_search_locations is None:
        raise missing_extra("whylogs", "monitor")
    if "whylogs.viz" not in sys.modules and importlib.util.find_spec("IPython") is None:
        viz = types.ModuleType("whylogs.viz")
        viz.__path__ = [f"{place}/viz" for place in spec.submodule_search_locations]
        sys.modules["whylogs.viz"] = viz
    from whylogs.core.metrics import column_metrics, metric_components, metrics
    from whylogs.core.view.column_profile_view import ColumnProfileView
    from whylogs.core.view.dataset_profile_view import DatasetProfileView

    return types.SimpleNamespace(
        counts=column_metrics.ColumnCountsMetric,
        types=column_metrics.TypeCountersMetric,
        distribution=metrics.DistributionMetric,
        ints=metrics.IntsMetric,
        cardinality=metrics.CardinalityMetric,
        frequent=metrics.FrequentItemsMetric,
        config=metrics.MetricConfig(fi_lg_max_k=FREQUENT_LOG2_SIZE),
        integral=metric_components.IntegralComponent,
        column_view=ColumnProfileView,
        dataset_view=DatasetProfileView,
    )


@dataclass(frozen=True)
class ColumnStats:
    """What a profile says of one column. ``avg``, ``stddev``, ``min``, ``max`` are of its finite numbers, else None.

    Args:
        count: Rows, missing ones included.
        num_nulls: Rows without a value; NaN is not among them.
        num_nan: Rows with NaN.
        num_inf: Rows with an infinity.
        distinct_count: Estimate of the number of different values (about 1.6% off).
    """

    count: int
    num_nulls: int
    num_nan: int
    num_inf: int
    distinct_count: float | None
    avg: float | None = None
    stddev: float | None = None
    min: float | None = None
    max: float | None = None

    @property
    def missing_share(self) -> float:
        """Share of rows without a value, NaN included; 0 for no rows."""
        return (self.num_nulls + self.num_nan) / self.count if self.count else 0.0


class Profile:
    """A mergeable profile of some rows.

    Args:
        view: whylogs' ``DatasetProfileView``.
    """

    def __init__(self, view: Any) -> None:
        self.view = view

    @property
    def columns(self) -> list[str]:
        """Names of the profiled columns, sorted."""
        return sorted(self.view.get_columns())

    @property
    def dataset_timestamp(self) -> datetime:
        """Time that the rows belong to, UTC; of merged profiles the earliest."""
        return self.view.dataset_timestamp.astimezone(UTC)  # type: ignore[no-any-return]

    def merge(self, other: "Profile") -> "Profile":
        """Returns the profile of the rows of both."""
        return Profile(self.view.merge(other.view))

    def to_bytes(self) -> bytes:
        """Returns the content of a ``.bin`` file, as ``whylogs.read`` opens it."""
        return self.view.serialize()  # type: ignore[no-any-return]

    @classmethod
    def from_bytes(cls, data: bytes, where: str = "profile") -> "Profile":
        """Returns the profile that ``data`` holds.

        Raises:
            UserError: The bytes are no whole whylogs profile.
        """
        try:
            return cls(library().dataset_view.deserialize(data))
        except Exception as exc:  # whylogs raises five kinds, none of them its own base class
            raise UserError("This is no readable whylogs profile.", where, "Materialize the profile again.") from exc

    def stats(self, column: str) -> ColumnStats:
        """Returns counts and moments of a column.

        Raises:
            UnknownNameError: The profile has no such column.
        """
        counts, shape = self._metric(column, "counts"), self._metric(column, "distribution")
        hll = self._metric(column, "cardinality")
        nan = int(counts.nan.value)
        missing, infinite = int(counts.null.value), int(counts.inf.value)
        head = (int(counts.n.value), missing - nan, nan, infinite, hll.estimate if hll else None)
        if shape is None or shape.n == 0:
            return ColumnStats(*head)
        return ColumnStats(*head, float(shape.avg), float(shape.stddev), float(shape.min), float(shape.max))

    def quantiles(self, column: str, fractions: Sequence[float]) -> list[float] | None:
        """Returns quantiles of the finite numbers of a column (rank error about 0.3%), or None where it has none."""
        sketch = self._sketch(column)
        return None if sketch is None else [float(value) for value in sketch.get_quantiles(list(fractions))]

    def bin_counts(self, column: str, edges: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Returns how many finite numbers lie in ``(-inf, e0], (e0, e1], … (en, inf)``, from the KLL sketch.

        Args:
            column: A numeric column.
            edges: (edges,) ascending.

        Returns:
            (edges + 1,) float64; exact while the rows are fewer than the sketch's k = 1024, else to about 0.3% of rank.
        """
        sketch = self._sketch(column)
        if sketch is None:
            return np.zeros(len(edges) + 1)
        ranks = np.asarray(sketch.get_cdf(edges.tolist(), inclusive=True))  # (edges + 1,)
        return np.asarray(np.rint(np.diff(ranks * sketch.get_n(), prepend=0.0)), np.float64)

    def text_counts(self, column: str) -> dict[str, int]:
        """Returns text → count for a column of texts or booleans, most frequent first."""
        items = self._metric(column, "frequent_items")
        return {item.value: int(item.est) for item in items.strings} if items else {}

    def _sketch(self, column: str) -> Any:
        shape = self._metric(column, "distribution")
        return None if shape is None or shape.kll.value.is_empty() else shape.kll.value

    def _metric(self, column: str, name: str) -> Any:
        found = self.view.get_column(column)
        if found is None:
            raise UnknownNameError("profiled column", column, self.columns)
        return found.get_metric(name)


def profile_rows(
    table: pa.Table, columns: Sequence[str], dataset_timestamp: datetime, tags: Mapping[str, str] | None = None
) -> Profile:
    """Returns the profile of some columns of some rows.

    Args:
        table: The rows.
        columns: Names of the columns to profile.
        dataset_timestamp: Time that the rows belong to, aware.
        tags: Texts kept in the profile, for instance the model version.

    Raises:
        UnknownNameError: The table has no such column.
    """
    for column in columns:
        if column not in table.column_names:
            raise UnknownNameError("column", column, table.column_names)
    lib = library()
    views = {name: column_view(lib, table.column(name)) for name in columns}
    when = dataset_timestamp.astimezone(UTC)
    times = {"dataset_timestamp": when, "creation_timestamp": when}
    return Profile(lib.dataset_view(columns=views, metadata=dict(tags or {}), **times))


def merge_profiles(profiles: Iterable[Profile]) -> Profile:
    """Returns the profile of the rows of all; at least one.

    Raises:
        TypeError: There is none.
    """
    return reduce(Profile.merge, profiles)
