"""What a monitor watches and when it complains: the declaration as plain values, which the steps read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mosaic_assets.monitors.incidents import Policy
from mosaic_assets.monitors.windows import Granularity

__all__ = ["Monitor", "ProfileType"]

ProfileType = Literal["snapshot", "time_series", "inference_log"]


@dataclass(frozen=True)
class Monitor:
    """A declared monitor; the names are those of ``MonitorComponent``'s fields, where they are described.

    Args:
        granularity: Length of the windows that incidents are judged by.
        thresholds: Metric → threshold of an alarm.
        min_rows: Windows with fewer rows raise no alarm.
        policy: When incidents open and close.
    """

    name: str
    table_name: str
    baseline_table_name: str
    profile_type: ProfileType = "inference_log"
    timestamp_col: str | None = None
    granularities: tuple[Granularity, ...] = ("1 day", "1 month")
    columns: tuple[str, ...] = ()
    exclude_columns: tuple[str, ...] = ()
    slicing_columns: tuple[str, ...] = ()
    prediction_col: str | None = None
    model_id_col: str | None = None
    label_col: str | None = None
    label_table_name: str | None = None
    label_known_col: str | None = None
    entity_key: tuple[str, ...] = ()
    min_labelled_rows: int = 200
    baseline_timestamp_col: str | None = None
    baseline_splits: tuple[str, ...] = ("train", "validation")
    registered_model_name: str | None = None
    granularity: Granularity = "1 month"
    thresholds: Mapping[str, float] = field(default_factory=lambda: {"population_stability_index": 0.2})
    min_rows: int = 1000
    policy: Policy = field(default_factory=Policy)

    def key(self, kind: str) -> str:
        """Returns the key of one of the monitor's assets and tables."""
        return f"monitors/{self.name}_{kind}"

    @property
    def incident(self) -> str:
        """Key of the monitor's drift incident."""
        return f"{self.name}/drift"
