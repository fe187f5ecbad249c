"""The steps that compare profiles with the baseline and judge incidents."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow.compute as pc

from mosaic_assets.models.plots import as_markdown
from mosaic_assets.monitors.baseline import Baseline
from mosaic_assets.monitors.declaration import Monitor
from mosaic_assets.monitors.drift_windows import drift_rows, observations
from mosaic_assets.monitors.incident_log import INCIDENTS, append_events, read_events
from mosaic_assets.monitors.incidents import Event, Policy, current, is_open, observe
from mosaic_assets.monitors.metrics_tables import as_drift_table
from mosaic_assets.monitors.plots import drift_over_time
from mosaic_assets.monitors.profile_steps import in_months, profile_store
from mosaic_assets.monitors.sources import drifted, judged
from mosaic_assets.monitors.windows import Slice
from mosaic_assets.work import CheckOutcome, Made, Markdown, Work
from mosaic_resources.errors import UserError

__all__ = ["drift_step", "incident_step", "read_baseline"]

METRIC = "population_stability_index"


def drift_step(monitor: Monitor, work: Work) -> Made:
    """Returns what comparing the step's windows made, with a plot of drift over time."""
    lake, name = work.seams.lake, monitor.key("drift_metrics")
    baseline = read_baseline(monitor, work)
    profiled = work.read_table(monitor.key("profile_metrics"), filters=_month_filter(work))
    slices = {Slice.of(row) for row in profiled.filter(pc.is_valid(profiled["profile_path"])).to_pylist()}
    thresholds, least = monitor.thresholds, monitor.min_rows
    made = drift_rows(
        slices, baseline, profile_store(monitor, work), thresholds=thresholds, min_rows=least, evaluated_at=work.now_utc
    )
    if not made:
        raise UserError("No profiled window has a column of the baseline.", work.asset, "Check 'columns'.")
    table = as_drift_table(made)
    same = f"{in_months(table)} AND baseline_id = '{baseline.id}'"
    version = lake.write(name, table, work.commit(), predicate=same, partition_by=["month"])
    alarms = sorted({row["column_name"] for row in made if row["alarm"]})
    return Made(
        name, version, lake.num_rows(name), table.schema, drifted(monitor),
        metadata={"baseline_id": baseline.id, "columns_with_alarm": len(alarms), "alarms": alarms,
                  **_picture(monitor, work, baseline, version)},
    )  # fmt: skip


def incident_step(monitor: Monitor, work: Work) -> Made:
    """Returns what judging all finished windows made; windows that were judged before add nothing."""
    lake, name = work.seams.lake, monitor.key("drift_metrics")
    baseline = read_baseline(monitor, work)
    drift = work.read_table(name, filters=pc.field("baseline_id") == baseline.id)
    key = monitor.incident
    seen = observations(drift, key, baseline, min_rows=monitor.min_rows, now_utc=work.now_utc)

    def decide(log: Sequence[Event]) -> list[Event]:
        added: list[Event] = []
        for one in seen:
            added += observe([*log, *added], one, monitor.policy, work.now_utc)
        return added

    added = append_events(lake, monitor.name, decide, work.commit(f"{INCIDENTS}/{monitor.name}"))
    log = [event for event in read_events(lake, monitor.name) if event.key == key]
    last = current(log).get(key)
    if last is not None and last.epoch:
        work.lineage.describe("mosaic_incident", **_facet(last, log, monitor.policy))
    waiting = last is not None and is_open(last)
    reasons = [f"{r.column}: {r.metric} {r.value:.2f} > {r.threshold:.2f}" for r in last.reasons] if last else []
    told = {"incident": last.name, "state": last.state, "score": last.score, "reasons": reasons} if last else {}
    check = CheckOutcome(
        "no_open_incident", not waiting, "; ".join(reasons[:3]), {"state": last.state if last else "none"}
    )
    version = lake.version(INCIDENTS)
    if version is None:
        return Made(version=work.run_id, metadata={"new_events": 0}, checks=[check])
    return Made(
        INCIDENTS, version, lake.num_rows(INCIDENTS), lake.schema(INCIDENTS), judged(monitor),
        metadata={"new_events": len(added), **told}, checks=[check],
    )  # fmt: skip


def _facet(last: Event, log: Sequence[Event], policy: Policy) -> dict[str, object]:
    """Returns what lineage says of an incident: its state by now, and what opened it."""
    opened = next(event for event in reversed(log) if event.kind == "opened" and event.epoch == last.epoch)
    said: dict[str, object] = {
        "metric": "share_of_columns_with_alarm",
        "value": opened.score,
        "threshold": policy.open_over,
    }
    if opened.reasons:
        worst = opened.reasons[0]
        said = {"metric": worst.metric, "column": worst.column, "value": worst.value, "threshold": worst.threshold}
    severity = last.severity if is_open(last) else opened.severity
    head = {"incident": last.key, "epoch": last.epoch, "state": last.state, "severity": severity}
    return {**head, "openedAt": opened.at_utc.isoformat(), **said}


def read_baseline(monitor: Monitor, work: Work) -> Baseline:
    """Returns the monitor's newest baseline."""
    table = work.read_table(monitor.key("baseline"))
    return Baseline.model_validate_json(table["baseline"][0].as_py())


def _month_filter(work: Work) -> Any:
    if work.window is None:
        return None
    first, last = (f"{edge:%Y-%m}" for edge in work.window)
    return (pc.field("month") >= first) & (pc.field("month") < last)


def _picture(monitor: Monitor, work: Work, baseline: Baseline, version: int) -> dict[str, Markdown]:
    columns = ["window", "granularity", "slice_key", "drift_type", "baseline_id", "column_name", METRIC]
    rows = work.seams.lake.read(monitor.key("drift_metrics"), version, columns).to_pylist()
    series: dict[str, list[tuple[datetime, float]]] = {}
    for row in sorted(rows, key=lambda one: one["window"]["start"]):
        judged = row["granularity"] == baseline.granularity and row["slice_key"] is None
        if judged and row["drift_type"] == "BASELINE" and row["baseline_id"] == baseline.id and row[METRIC] is not None:
            series.setdefault(row["column_name"], []).append((row["window"]["start"], row[METRIC]))
    if not series:
        return {}
    threshold = monitor.thresholds.get(METRIC, 0.2)
    title = f"Drift of {monitor.name} against {baseline.id}"
    png = drift_over_time(series, metric=METRIC, threshold=threshold, title=title)
    return {"drift_over_time": Markdown(as_markdown(png, title))}
