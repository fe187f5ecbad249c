"""The steps that make profiles, quality and the baseline from rows."""

from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.models.plots import as_markdown
from mosaic_assets.monitors.columns import is_numeric, is_text
from mosaic_assets.monitors.declaration import Monitor
from mosaic_assets.monitors.fit_baseline import fit_baseline
from mosaic_assets.monitors.history import HistoryDrift, history_drift
from mosaic_assets.monitors.metrics_tables import as_profile_table, quality_row
from mosaic_assets.monitors.plots import drift_over_time, quality_over_time
from mosaic_assets.monitors.profile_store import ProfileStore
from mosaic_assets.monitors.profile_windows import Watched, make_profiles
from mosaic_assets.monitors.quality import join_labels, quality_by_window
from mosaic_assets.monitors.sources import fitted, profiled
from mosaic_assets.monitors.windows import Slice, window_starts
from mosaic_assets.work import Made, Markdown, Work
from mosaic_resources.errors import UserError

__all__ = ["baseline_step", "in_months", "profile_step", "profile_store"]

NUM_WORST = 8
PREVIEW = ["month", "granularity", "column_name", "count", "num_nulls", "avg", "min", "max"]


def profile_step(monitor: Monitor, work: Work) -> Made:
    """Returns what profiling the step's window made."""
    lake, name = work.seams.lake, monitor.key("profile_metrics")
    rows = _watched_rows(monitor, work)
    watched = Watched(
        columns=tuple(_columns(monitor, rows.schema)),
        timestamp_col=monitor.timestamp_col if monitor.profile_type != "snapshot" else None,
        granularities=monitor.granularities,
        slicing_columns=monitor.slicing_columns,
    )
    tags = {"mosaic.monitor": monitor.name, "mosaic.table": monitor.table_name}
    made = make_profiles(rows, watched, profile_store(monitor, work), tags=tags, evaluated_at=work.now_utc)
    quality = _quality_rows(monitor, work, rows)
    table = as_profile_table([*made, *quality])
    version = lake.write(name, table, work.commit(), predicate=in_months(table), partition_by=["month"])
    learnt = sorted(
        {f"{row['month']} v{row['model_version']}" for row in quality if row["quality_state"] == "in_sample"}
    )
    measured = [row for row in quality if row["quality_state"] == "measured"]
    figures = {f"auc_{row['month']}_v{row['model_version'] or '?'}": row["roc_auc_score"] for row in measured}
    return Made(
        name, version, lake.num_rows(name), table.schema, profiled(monitor, watched.columns),
        preview=table.select(PREVIEW),
        metadata={"rows_profiled": rows.num_rows, "profiles": len({row["profile_path"] for row in made}), **figures,
                  **({"in_sample": learnt} if learnt else {}),
                  **_picture(monitor, work, version)},
    )  # fmt: skip


def baseline_step(monitor: Monitor, work: Work) -> Made:
    """Returns what fitting the baseline made: one row with the whole of it as JSON."""
    lake, name = work.seams.lake, monitor.key("baseline")
    baseline_id, model_version, rows = _training_rows(monitor, work)
    timestamp_col = monitor.baseline_timestamp_col or monitor.timestamp_col
    watched = _columns(monitor, rows.schema)
    baseline = fit_baseline(
        rows,
        watched,
        baseline_id=baseline_id,
        model_version=model_version,
        timestamp_col=timestamp_col,
        granularity=monitor.granularity,
    )
    table = pa.table(
        {
            "baseline_id": [baseline.id],
            "model_version": [model_version],
            "num_rows": pa.array([rows.num_rows], pa.int64()),
            "made_at": pa.array([work.now_utc], pa.timestamp("us", tz="UTC")),
            "baseline": [baseline.model_dump_json()],
        }
    )
    version = lake.write(name, table, work.commit())
    shown = {"baseline_id": baseline.id, "model_version": model_version, "columns": len(baseline.columns)}
    drifted = history_drift(baseline, rows, timestamp_col) if timestamp_col else None
    history = _history(monitor, drifted) if drifted else {}
    return Made(
        name, version, 1, table.schema, fitted(monitor, watched),
        metadata={**shown, "training_rows": rows.num_rows, **history},
    )  # fmt: skip


def _history(monitor: Monitor, drifted: HistoryDrift) -> dict[str, Any]:
    """Returns the plot of the drift that the training rows themselves hold, and the columns that drift most."""
    unit = monitor.granularity.removeprefix("1 ")
    title = f"PSI of each {unit} of training against {drifted.first[0]:%Y-%m-%d} to {drifted.first[-1]:%Y-%m-%d}"
    metric = "population_stability_index"
    png = drift_over_time(drifted.series, metric=metric, threshold=monitor.thresholds.get(metric, 0.2), title=title)
    worst = {name: round(value, 2) for name, value in drifted.worst(NUM_WORST).items()}
    return {"drift_over_time": Markdown(as_markdown(png, title)), "largest_drift_in_training": worst}


def _watched_rows(monitor: Monitor, work: Work) -> pa.Table:
    kept = None
    if work.window and monitor.timestamp_col and monitor.profile_type != "snapshot":
        _check_whole(monitor, work.window)
        time = pc.field(monitor.timestamp_col)
        kept = (time >= pa.scalar(work.window[0])) & (time < pa.scalar(work.window[1]))
    rows = work.read_table(monitor.table_name, filters=kept)
    if rows.num_rows == 0:
        when = f" between {work.window[0]:%Y-%m-%d} and {work.window[1]:%Y-%m-%d}" if work.window else ""
        raise UserError(f"'{monitor.table_name}' has no rows{when}.", work.asset, "Materialize it first.")
    return rows


def _check_whole(monitor: Monitor, window: tuple[datetime, datetime]) -> None:
    for granularity in monitor.granularities:
        for edge in window:
            if window_starts(pa.chunked_array([pa.array([edge])]), granularity)[0].as_py() != edge:
                raise UserError(
                    f"The partition does not hold whole windows of {granularity}.",
                    monitor.key("profile_metrics"),
                    "Partition the monitor by its longest granularity, or drop that granularity.",
                )


def _training_rows(monitor: Monitor, work: Work) -> tuple[str, str, pa.Table]:
    """Returns identity, model version and rows of what the champion has learnt."""
    name, model_version = monitor.baseline_table_name, ""
    version = work.seams.lake.open(name).version()
    baseline_id = f"{name}@{version}"
    if monitor.registered_model_name is not None:
        from mosaic_assets.monitors.champion import champion_dataset

        champion = champion_dataset(work.seams.registry, work.seams.settings, monitor.registered_model_name, name)
        baseline_id, model_version, version = champion
    rows = work.read_table(name, version)
    if "split" in rows.column_names:
        rows = rows.filter(pc.is_in(rows["split"], pa.array(list(monitor.baseline_splits))))
    return baseline_id, model_version, rows


def _columns(monitor: Monitor, schema: pa.Schema) -> list[str]:
    if monitor.columns:
        return list(monitor.columns)
    plain = {
        monitor.label_col,
        monitor.model_id_col,
        monitor.prediction_col,
        *monitor.entity_key,
        "split",
        "fold",
        "month",
    }
    left_out = plain | set(monitor.exclude_columns)
    return [f.name for f in schema if (is_numeric(f.type) or is_text(f.type)) and f.name not in left_out]


def _quality_rows(monitor: Monitor, work: Work, rows: pa.Table) -> list[dict[str, Any]]:
    if not (monitor.label_col and monitor.prediction_col and monitor.timestamp_col):
        return []
    source, known = monitor.label_table_name, monitor.label_known_col
    wanted = list(dict.fromkeys([*monitor.entity_key, monitor.label_col, *([known] if known else [])]))
    labels = work.read_table(source, columns=wanted) if source else rows.select(wanted)
    joined = join_labels(
        rows, labels, monitor.entity_key, label_col=monitor.label_col, known_col=known, now_utc=work.now_utc
    )
    learnt = _learnt(monitor, work)
    made = []
    for granularity in monitor.granularities:
        for found in quality_by_window(
            joined, prediction_col=monitor.prediction_col, timestamp_col=monitor.timestamp_col,
            model_col=monitor.model_id_col, granularity=granularity, min_labelled_rows=monitor.min_labelled_rows,
            learnt=learnt,
        ):  # fmt: skip
            where = Slice(found.start, granularity, found.model_version)
            made.append(quality_row(found, where, evaluated_at=work.now_utc))
    return made


def _picture(monitor: Monitor, work: Work, version: int) -> dict[str, Markdown]:
    """Returns the plot of AUC over the windows, from windows that no version was fitted on."""
    columns = ["window", "granularity", "model_version", "quality_state", "roc_auc_score"]
    measured = (pc.field("quality_state") == "measured") & (pc.field("granularity") == monitor.granularity)
    rows = work.seams.lake.read(monitor.key("profile_metrics"), version, columns, measured).to_pylist()
    series: dict[str, list[tuple[datetime, float]]] = {}
    for row in sorted(rows, key=lambda one: one["window"]["start"]):
        series.setdefault(row["model_version"], []).append((row["window"]["start"], row["roc_auc_score"]))
    if not series:
        return {}
    title = f"AUC of {monitor.name} by late labels"
    png = quality_over_time(series, metric="roc_auc_score", title=title)
    return {"quality_over_time": Markdown(as_markdown(png, title))}


def _learnt(monitor: Monitor, work: Work) -> dict[str, datetime]:
    if monitor.registered_model_name is None:
        return {}
    from mosaic_assets.models.learnt import learnt_by_version

    manifests = work.seams.settings.state / "manifests"
    return learnt_by_version(work.seams.registry, manifests, monitor.registered_model_name)


def profile_store(monitor: Monitor, work: Work) -> ProfileStore:
    """Returns where the monitor keeps its profiles: beside its tables."""
    return ProfileStore(work.seams.lake.path(monitor.key("profiles")))


def in_months(table: pa.Table) -> str:
    """Returns the predicate of the partitions that a table's rows lie in."""
    months = ", ".join(f"'{month}'" for month in sorted(pc.unique(table["month"]).to_pylist()))
    return f"month IN ({months})"
