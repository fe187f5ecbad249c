"""The drift of profiled windows, and what it says of an incident."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pyarrow as pa

from mosaic_assets.monitors.baseline import Baseline
from mosaic_assets.monitors.compare import alarms_of
from mosaic_assets.monitors.incidents import Observation, Reason
from mosaic_assets.monitors.metrics_tables import Comparison, drift_row
from mosaic_assets.monitors.profile_store import ProfileStore
from mosaic_assets.monitors.windows import Slice, window_before

__all__ = ["drift_rows", "observations"]

NUM_REASONS = 10


def drift_rows(
    profiled: Iterable[Slice], baseline: Baseline, store: ProfileStore, *, thresholds: Mapping[str, float],
    min_rows: int, evaluated_at: datetime,
) -> list[dict[str, Any]]:  # fmt: skip
    """Returns the rows of ``_drift_metrics``: each window against the baseline, and against the window before it.

    Alarms are raised on whole windows (no slice) of the baseline's own granularity with enough rows; for others the
    baseline does not know how far apart its own windows are.

    Args:
        profiled: The windows, whose profiles are in the store.
        baseline: What to compare with.
        store: The profiles.
        thresholds: Metric → declared threshold.
        min_rows: Windows with fewer rows raise no alarm.
        evaluated_at: The clock's time.
    """
    made: list[dict[str, Any]] = []
    for rows in sorted(profiled, key=lambda one: (one.granularity, one.key or "", one.value or "", one.start)):
        profile = store.read(rows)
        earlier = store.read_if_there(replace(rows, start=window_before(rows.start, rows.granularity)))
        against = Comparison("BASELINE", baseline.id, store.address(rows), evaluated_at)
        judged = rows.granularity == baseline.granularity and rows.key is None
        for column in (column for column in baseline.columns if column.name in profile.columns):
            counts = column.count_profile(profile)
            far = column.distances(counts)
            limits = thresholds if judged and counts.num_rows >= min_rows else {}
            alarms = alarms_of(column.name, far, limits, column.within)
            made.append(drift_row(column.name, far, counts, rows, against=against, alarms=alarms))
            if earlier is not None and column.name in earlier.columns:
                step = column.distances(counts, reference=column.count_profile(earlier))
                before = replace(against, drift_type="CONSECUTIVE")
                made.append(drift_row(column.name, step, counts, rows, against=before))
    return made


def observations(
    drift: pa.Table, key: str, baseline: Baseline, *, min_rows: int, now_utc: datetime
) -> list[Observation]:
    """Returns what the finished windows say, in order: score = share of the columns with an alarm.

    Args:
        drift: Rows of ``_drift_metrics``.
        key: Key of the incident.
        baseline: Only comparisons with this baseline count.
        min_rows: Windows with fewer rows say nothing.
        now_utc: Windows that end later are not finished.
    """
    found: dict[datetime, list[dict[str, Any]]] = {}
    for row in drift.to_pylist():
        ours = row["drift_type"] == "BASELINE" and row["slice_key"] is None and row["baseline_id"] == baseline.id
        if ours and row["granularity"] == baseline.granularity and row["window"]["end"] <= now_utc:
            found.setdefault(row["window"]["start"], []).append(row)
    return [_observation(key, start, baseline.id, found[start], min_rows) for start in sorted(found)]


def _observation(
    key: str, start: datetime, baseline_id: str, rows: Sequence[dict[str, Any]], least: int
) -> Observation:
    if max(row["count"] for row in rows) < least:
        return Observation(key, start, baseline_id, None)
    alarms = [_reason(row) for row in rows if row["alarm"]]
    worst = sorted(alarms, key=lambda reason: (-abs(reason.value) / max(reason.threshold, 1e-12), reason.column))
    return Observation(key, start, baseline_id, len(alarms) / len(rows), tuple(worst[:NUM_REASONS]))


def _reason(row: dict[str, Any]) -> Reason:
    value = row[row["alarm_metric"]]
    statistic = value["statistic"] if isinstance(value, dict) else value
    return Reason(row["column_name"], row["alarm_metric"], statistic, row["alarm_threshold"])
