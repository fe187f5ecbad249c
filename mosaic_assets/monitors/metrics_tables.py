"""Rows of ``<table>_profile_metrics`` and ``<table>_drift_metrics``, with the columns that Databricks users know.

Source: https://docs.databricks.com/en/lakehouse-monitoring/monitor-output.html
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from mosaic_assets.monitors.compare import Alarm, Counts, Distances
from mosaic_assets.monitors.windows import Slice, window_before, window_end

if TYPE_CHECKING:
    from mosaic_assets.monitors.profiles import Profile
    from mosaic_assets.monitors.quality import Quality

__all__ = [
    "DRIFT_SCHEMA",
    "PROFILE_SCHEMA",
    "QUANTILES",
    "Comparison",
    "DriftType",
    "as_drift_table",
    "as_profile_table",
    "drift_row",
    "profile_rows_of",
    "quality_row",
]

DriftType = Literal["BASELINE", "CONSECUTIVE"]
QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
NUM_FREQUENT = 10
TESTS = ("ks_test", "chi_squared_test")
WHOLE_TABLE = ":table"  # Databricks' name for figures of all columns together

_time = pa.timestamp("us", tz="UTC")
_window = pa.struct([("start", _time), ("end", _time)])
_head: list[tuple[str, pa.DataType]] = [
    ("month", pa.string()),
    ("window", _window),
    ("granularity", pa.string()),
    ("model_version", pa.string()),
    ("slice_key", pa.string()),
    ("slice_value", pa.string()),
    ("column_name", pa.string()),
]
PROFILE_SCHEMA = pa.schema(
    [
        *_head,
        ("count", pa.int64()),
        ("num_nulls", pa.int64()),
        ("num_nan", pa.int64()),
        ("num_inf", pa.int64()),
        ("distinct_count", pa.float64()),
        ("avg", pa.float64()),
        ("stddev", pa.float64()),
        ("min", pa.float64()),
        ("max", pa.float64()),
        ("quantiles", pa.list_(pa.float64())),
        ("frequent_items", pa.list_(pa.struct([("item", pa.string()), ("count", pa.int64())]))),
        ("num_labelled", pa.int64()),
        ("share_labelled", pa.float64()),
        ("quality_state", pa.string()),
        ("roc_auc_score", pa.float64()),
        ("log_loss", pa.float64()),
        ("brier_score", pa.float64()),
        ("profile_path", pa.string()),
        ("evaluated_at", _time),
    ]
)
_test = pa.struct([("statistic", pa.float64()), ("pvalue", pa.float64())])
DRIFT_SCHEMA = pa.schema(
    [
        *_head,
        ("drift_type", pa.string()),
        ("window_cmp", _window),
        ("baseline_id", pa.string()),
        ("count", pa.int64()),
        ("null_share_change", pa.float64()),
        ("new_category_share", pa.float64()),
        ("ks_test", _test),
        ("chi_squared_test", _test),
        ("population_stability_index", pa.float64()),
        ("js_distance", pa.float64()),
        ("tv_distance", pa.float64()),
        ("wasserstein_distance", pa.float64()),
        ("alarm", pa.bool_()),
        ("alarm_metric", pa.string()),
        ("alarm_threshold", pa.float64()),
        ("profile_path", pa.string()),
        ("evaluated_at", _time),
    ]
)


@dataclass(frozen=True)
class Comparison:
    """What a drift row compares with, and when.

    Args:
        drift_type: ``BASELINE``, or ``CONSECUTIVE`` for the window before.
        baseline_id: Identity of the baseline whose edges were used.
        profile_path: Address of the window's profile.
        evaluated_at: Clock's time.
    """

    drift_type: DriftType
    baseline_id: str
    profile_path: str
    evaluated_at: datetime


def profile_rows_of(
    profile: "Profile", rows: Slice, *, profile_path: str, evaluated_at: datetime
) -> list[dict[str, Any]]:
    """Returns one row for each profiled column."""
    made = []
    for name in profile.columns:
        stats = profile.stats(name)
        items = list(profile.text_counts(name).items())[:NUM_FREQUENT]
        made.append(
            rows.head
            | {field: getattr(stats, field) for field in PROFILE_SCHEMA.names if hasattr(stats, field)}
            | {
                "column_name": name,
                "quantiles": profile.quantiles(name, QUANTILES),
                "frequent_items": [{"item": item, "count": count} for item, count in items] or None,
                "profile_path": profile_path,
                "evaluated_at": evaluated_at,
            }
        )
    return made


def quality_row(quality: "Quality", rows: Slice, *, evaluated_at: datetime) -> dict[str, Any]:
    """Returns the row of ``<table>_profile_metrics`` that holds the quality of all columns' model."""
    return rows.head | {
        "column_name": WHOLE_TABLE,
        "count": quality.num_predictions,
        "num_labelled": quality.num_labelled,
        "share_labelled": quality.share_labelled,
        "quality_state": quality.state,
        "roc_auc_score": quality.auc,
        "log_loss": quality.log_loss,
        "brier_score": quality.brier,
        "evaluated_at": evaluated_at,
    }


def drift_row(
    column: str,
    distances: Distances,
    current: Counts,
    rows: Slice,
    *,
    against: Comparison,
    alarms: Sequence[Alarm] = (),
) -> dict[str, Any]:
    """Returns one row of ``<table>_drift_metrics``.

    Args:
        column: Name of the column.
        distances: Of the window against its reference.
        current: The window's counts.
        rows: Which rows the window holds.
        against: The reference.
        alarms: The column's alarms, the worst first; empty: none.
    """
    named = distances.values()
    plain = {name: value for name, value in named.items() if name not in TESTS}
    # No p-value: the counts come from a sketch, and at this size any would be tiny.
    tests = {name: {"statistic": named[name], "pvalue": None} for name in TESTS if name in named}
    before = window_before(rows.start, rows.granularity) if against.drift_type == "CONSECUTIVE" else None
    alarm = {"alarm_metric": alarms[0].metric, "alarm_threshold": alarms[0].threshold} if alarms else {}
    own = {"column_name": column, "count": current.num_rows, "alarm": bool(alarms)}
    window_cmp = before and {"start": before, "end": window_end(before, rows.granularity)}
    return rows.head | plain | tests | asdict(against) | own | alarm | {"window_cmp": window_cmp}


def as_profile_table(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Returns rows in the schema of ``<table>_profile_metrics``; what a row lacks is NULL."""
    return _table(rows, PROFILE_SCHEMA)


def as_drift_table(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Returns rows in the schema of ``<table>_drift_metrics``; what a row lacks is NULL."""
    return _table(rows, DRIFT_SCHEMA)


def _table(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema=schema)
