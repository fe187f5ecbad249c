"""The baseline: what the champion was trained on, as counts over edges that stay fixed until the next promotion."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from mosaic_assets.monitors.columns import numbers_of, texts_of
from mosaic_assets.monitors.compare import Counts, Distances, compare
from mosaic_assets.monitors.drift import binned
from mosaic_assets.monitors.windows import Granularity
from mosaic_resources.errors import UnknownNameError, UserError

if TYPE_CHECKING:
    from mosaic_assets.monitors.profiles import Profile

__all__ = ["Baseline", "ColumnBaseline"]


class ColumnBaseline(BaseModel):
    """One column of the baseline.

    Histograms have coarse bins (about ten, for PSI and its kin) and fine ones (for the KS and Wasserstein distances).
    Categories are the most frequent texts; the last count is of all others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Literal["numeric", "categorical"]
    num_rows: int = Field(ge=0)
    num_missing: int = Field(ge=0, description="NULL and NaN.")
    edges: tuple[float, ...] = ()
    counts: tuple[float, ...] = ()
    fine_edges: tuple[float, ...] = ()
    fine_counts: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    known_texts: tuple[str, ...] | None = Field(default=None, description="All texts; None: too many to keep.")
    within: Mapping[str, float] = Field(
        default={}, description="Metric → the largest value of one of the baseline's own windows against its others."
    )

    @property
    def held(self) -> Counts:
        """Counts of the baseline's own rows."""
        fine = np.array(self.fine_counts) if self.kind == "numeric" else None
        return Counts(self.num_rows, self.num_missing, np.array(self.counts), fine, 0.0)

    def distances(self, current: Counts, reference: Counts | None = None) -> Distances:
        """Returns how far a window is from the baseline, or from another window over the same bins."""
        return compare(self.held if reference is None else reference, current, np.array(self.fine_edges))

    def count(self, values: pa.ChunkedArray) -> Counts:
        """Returns exact counts of values over this baseline's bins.

        Args:
            values: (rows,) of the baseline's kind; infinities are in no bin.

        Raises:
            UserError: The values are of another kind than the baseline's.
        """
        numbers, texts = numbers_of(values), texts_of(values)
        if self.kind == "numeric" and numbers is not None:
            num_missing = values.null_count + int(np.isnan(numbers).sum())
            finite = numbers[np.isfinite(numbers)]
            coarse, fine = (binned(finite, np.array(edges)) for edges in (self.edges, self.fine_edges))
            return Counts(len(values), num_missing, coarse, fine, 0.0)
        if self.kind == "categorical" and texts is not None:
            return self._count_texts(texts, len(values), values.null_count)
        raise self._wrong_kind(str(values.type))

    def count_profile(self, profile: "Profile") -> Counts:
        """Returns the counts of a profile's rows over this baseline's bins; see ``Profile.bin_counts`` for their error.

        Raises:
            UnknownNameError: The profile lacks the column.
            UserError: The profiled values are of another kind than the baseline's.
        """
        stats = profile.stats(self.name)
        num_missing = stats.num_nulls + stats.num_nan
        num_values = stats.count - num_missing
        texts = profile.text_counts(self.name)
        if self.kind == "categorical":
            if num_values and not texts:
                raise self._wrong_kind("numeric")
            return self._count_texts(texts, stats.count, num_missing)
        if texts:
            raise self._wrong_kind("text")
        coarse, fine = (profile.bin_counts(self.name, np.array(edges)) for edges in (self.edges, self.fine_edges))
        return Counts(stats.count, num_missing, coarse, fine, 0.0)

    def _count_texts(self, texts: Mapping[str, int], num_rows: int, num_missing: int) -> Counts:
        num_values = num_rows - num_missing
        named = np.array([texts.get(category, 0) for category in self.categories], np.float64)
        counts = np.append(named, max(num_values - named.sum(), 0.0))
        known = texts.keys() if self.known_texts is None else set(self.known_texts)
        num_new = sum(count for text, count in texts.items() if text not in known)
        return Counts(num_rows, num_missing, counts, None, num_new / num_values if num_values else 0.0)

    def _wrong_kind(self, received: str) -> UserError:
        return UserError(
            f"Column '{self.name}' is {received}, but {self.kind} in the baseline.", do="Make a new baseline."
        )


class Baseline(BaseModel):
    """The distributions that windows are compared with; JSON by ``model_dump_json`` and ``model_validate_json``.

    Args:
        id: What made it, for instance the dataset manifest's id; a new id is a moved baseline.
        model_version: The champion whose training rows these are.
        granularity: Length of the baseline's own windows, by which ``within`` was measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    id: str
    model_version: str = ""
    granularity: Granularity = "1 month"
    columns: tuple[ColumnBaseline, ...]

    def column(self, name: str) -> ColumnBaseline:
        """Returns one column.

        Raises:
            UnknownNameError: The baseline has no such column.
        """
        found = {column.name: column for column in self.columns}
        if name not in found:
            raise UnknownNameError("baseline column", name, found)
        return found[name]

    @property
    def names(self) -> list[str]:
        """Names of the columns, in order."""
        return [column.name for column in self.columns]
