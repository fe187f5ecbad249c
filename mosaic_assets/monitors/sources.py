"""Which columns the figures of a monitor's tables come from, for the lineage of columns."""

from collections.abc import Iterable, Sequence

from mosaic_assets.monitors.declaration import Monitor
from mosaic_assets.monitors.metrics_tables import DRIFT_SCHEMA, PROFILE_SCHEMA
from mosaic_assets.tables.query import Columns

__all__ = ["decided", "drifted", "fitted", "judged", "profiled"]

HEAD = ("month", "window", "granularity", "model_version", "slice_key", "slice_value", "column_name")
QUALITY = ("num_labelled", "share_labelled", "quality_state", "roc_auc_score", "log_loss", "brier_score")
# Where a row's figures lie, when they were made, and what does not come from any column.
OWN = ("granularity", "slice_key", "column_name", "profile_path", "evaluated_at")


def profiled(monitor: Monitor, watched: Sequence[str]) -> Columns:
    """Returns the sources of ``<monitor>_profile_metrics``; ``watched`` are the profiled columns."""
    table = monitor.table_name
    found = {name: _of(table, watched) for name in PROFILE_SCHEMA.names if name not in (*HEAD, *QUALITY, *OWN)}
    found |= {name: _of(table, [monitor.timestamp_col]) for name in ("month", "window")}
    found |= {"model_version": _of(table, [monitor.model_id_col]), "slice_value": _of(table, monitor.slicing_columns)}
    if monitor.label_col:
        labels = _of(monitor.label_table_name or table, [*monitor.entity_key, monitor.label_col])
        found |= {name: [*_of(table, [*monitor.entity_key, monitor.prediction_col]), *labels] for name in QUALITY}
    return _known(found)


def fitted(monitor: Monitor, watched: Sequence[str]) -> Columns:
    """Returns the sources of ``<monitor>_baseline``."""
    table = monitor.baseline_table_name
    times = [monitor.baseline_timestamp_col or monitor.timestamp_col]
    return _known({"num_rows": _of(table, ["split"]), "baseline": _of(table, [*watched, *times])})


def drifted(monitor: Monitor) -> Columns:
    """Returns the sources of ``<monitor>_drift_metrics``."""
    profiles, baseline = monitor.key("profile_metrics"), monitor.key("baseline")
    measured = [*_of(profiles, ["profile_path"]), *_of(baseline, ["baseline"])]
    found: dict[str, Sequence[tuple[str, str]]] = {
        name: measured for name in DRIFT_SCHEMA.names if name not in (*HEAD, *OWN, "count", "baseline_id")
    }
    found |= {name: _of(profiles, [name]) for name in (*HEAD, "count", "profile_path")}
    return found | {"window_cmp": _of(profiles, ["window"]), "baseline_id": _of(baseline, ["baseline_id"])}


def judged(monitor: Monitor) -> Columns:
    """Returns the sources of ``monitors/incidents``."""
    drift = monitor.key("drift_metrics")
    found = {name: _of(drift, ["alarm"]) for name in ("kind", "state", "severity", "score", "num_over", "num_under")}
    reasons = _of(drift, ["column_name", "alarm_metric", "alarm_threshold", *monitor.thresholds])
    return found | {
        "key": _of(drift, ["granularity", "slice_value"]), "window_start": _of(drift, ["window"]),
        "baseline_id": _of(drift, ["baseline_id"]), "reasons": reasons,
    }  # fmt: skip


def decided(monitor: Monitor) -> Columns:
    """Returns the sources of ``<monitor>_decision``."""
    scored = _of(monitor.table_name, [*monitor.entity_key, monitor.prediction_col, monitor.model_id_col])
    labels = _of(monitor.label_table_name or monitor.table_name, [*monitor.entity_key, monitor.label_col])
    return {name: [*scored, *labels] for name in ("verdict", "reasons", "figures")}


def _of(table: str, columns: Iterable[str | None]) -> list[tuple[str, str]]:
    return [(table, column) for column in dict.fromkeys(columns) if column]


def _known(found: Columns) -> Columns:
    return {name: sources for name, sources in found.items() if sources}
