"""The demo's summary: what was made, how good it is, what came of the incident, what to try next."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from rich.table import Column, Table

from mosaic_assets.cli.disk import disk_text, disk_use
from mosaic_assets.cli.output import console
from mosaic_assets.orchestration.story import Progress, Stage

if TYPE_CHECKING:
    from mosaic_assets.monitors.incidents import Event

__all__ = ["collect", "next_commands", "show"]


def collect(stage: Stage, progress: Progress) -> dict[str, Any]:
    """Returns everything that the summary shows, read from the tables and stores themselves."""
    from mosaic_assets.lineage.render import as_text
    from mosaic_assets.lineage.trace import trace_prediction
    from mosaic_assets.monitors.incident_log import read_events

    seams, script = stage.seams, stage.script
    lake = seams.lake
    keys = sorted(key.to_user_string() for key in stage.defs.resolve_asset_graph().executable_asset_keys)
    tables = [key for key in keys if lake.exists(key)]
    held = {f"{key}__quarantine" for key in tables if lake.exists(f"{key}__quarantine")}
    request = _request(seams.lake, f"predictions/{script.service}_requests", progress.facts.get("request_id"))
    return {
        "title": script.title,
        "tables": [{"table": key, "version": lake.version(key), "rows": lake.num_rows(key)} for key in tables],
        "quarantine": {key: lake.num_rows(key) for key in sorted(held)},
        "auc_by_month": _auc_by_month(stage),
        "incidents": _transitions(read_events(lake, script.monitor)),
        "seconds": progress.done,
        "trace": as_text(trace_prediction(seams.outbox, request), width=2000) if request else "",
        "state": str(seams.settings.state),
        "state_bytes": disk_use(seams.settings.state),
        "predictions_path": lake.path(stage.prediction_tables()[0]) if stage.prediction_tables() else "",
        **_champion(stage),
        **progress.facts,
    }  # fmt: skip


def show(summary: dict[str, Any]) -> None:
    """Prints the summary for people."""
    tables = _table("Tables", "table", "version", "rows")
    for row in summary["tables"]:
        tables.add_row(row["table"], str(row["version"]), f"{row['rows']:,}")
    for name, rows in summary["quarantine"].items():
        tables.add_row(f"[yellow]{name}[/yellow]", "", f"{rows:,}")
    console.print(tables)
    scores = _table("Quality by late labels", "month", "model", "version", "AUC", "labelled rows")
    for row in summary["auc_by_month"]:
        scores.add_row(
            row["month"],
            row["model"],
            row["version"],
            f"{row['auc']:.4f}" if row["auc"] is not None else row["state"],
            f"{row['labelled']:,}",
        )
    console.print(scores)
    for event in summary["incidents"]:
        why = f": {', '.join(event['reasons'][:4])}" if event["reasons"] else ""
        console.print(
            f"incident [bold]{event['incident']}[/bold] {event['state']} at {event['at'][:10]}, "
            f"score {event['score']:.2f}{why}",
            soft_wrap=True,
        )
    reasons = "; ".join(json.loads(summary.get("reasons") or "[]"))
    console.print(f"decision: [bold]{summary.get('verdict')}[/bold], {reasons}", soft_wrap=True)
    console.print(
        f"endpoint: {summary.get('answers')} requests answered, {summary.get('logged')} logged, "
        f"p50 {summary.get('p50_ms')} ms, p99 {summary.get('p99_ms')} ms over {summary.get('timed_requests')} of them; "
        f"switch under {summary.get('switch_rate')} requests/s: {summary.get('switch_failed')} of "
        f"{summary.get('switch_requests')} failed, answers by version {summary.get('switch_versions')}; "
        f"{_logged(summary)}",
        soft_wrap=True,
    )
    seconds = ", ".join(f"{name} {value:.0f} s" for name, value in summary["seconds"].items())
    console.print(f"stations: {seconds}; {sum(summary['seconds'].values()):.0f} s in all\n", soft_wrap=True)
    console.print(summary["trace"], markup=False, highlight=False, soft_wrap=True)
    _next(summary)


def _table(title: str, *names: str) -> Table:
    """Returns a table that folds long values in a narrow terminal and cuts none."""
    return Table(*(Column(name, overflow="fold") for name in names), title=title, title_justify="left")


def _logged(summary: dict[str, Any]) -> str:
    """Returns what the inference table holds; a play or a switch that was interrupted had logged its requests too."""
    in_all = summary.get("logged_in_all") or 0
    more = in_all - (summary.get("answers") or 0) - (summary.get("switch_requests") or 0)
    return f"{in_all:,} logged in all" + (f", {more:,} of them by what was interrupted" if more > 0 else "")


def _next(summary: dict[str, Any]) -> None:
    console.print(disk_text(summary["state"], summary["state_bytes"]), soft_wrap=True)
    console.print("\n[bold]Try[/bold]")
    for line in next_commands(summary):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def next_commands(summary: Mapping[str, Any]) -> list[str]:
    """Returns lines for a shell: ask the endpoint, look at the champion's newest predictions, trace one, go on."""
    version, asked_at = summary.get("champion"), summary.get("asked_at")
    chosen = f'rows[rows.model_version == "{version}"].sort_values("{asked_at}")'
    return [
        f"curl -s {summary['endpoint']}/v1/predict -H 'content-type: application/json' "
        f"-H 'x-mosaic-time: {summary['example_time']}' -d '{summary['example_body']}'",
        f"# the newest predictions of the champion, version {version}",
        ".venv/bin/python -c 'from deltalake import DeltaTable",
        f'rows = DeltaTable("{summary.get("predictions_path")}").to_pandas()',
        f"print({chosen}[{json.dumps(summary.get('prediction_columns'))}].tail().to_string(index=False))'",
        f".venv/bin/mosaic trace prediction {summary.get('request_id')}",
        "make up",
        ".venv/bin/mosaic serve --stop  # ends the endpoint, which goes on answering until then",
    ]


def _transitions(events: "Sequence[Event]") -> list[dict[str, Any]]:
    """Returns the events at which an incident's state changed."""
    told: list[dict[str, Any]] = []
    states: dict[str, str] = {}
    for event in events:
        if event.state != "none" and states.get(event.name) != event.state:
            reasons = [f"{reason.column} {reason.metric} {reason.value:.2f}" for reason in event.reasons]
            told.append(
                {
                    "incident": event.name,
                    "state": event.state,
                    "at": event.at_utc.isoformat(),
                    "score": event.score,
                    "reasons": reasons,
                }
            )
        states[event.name] = event.state
    return told


def _request(lake: Any, table: str, request_id: str | None) -> dict[str, Any] | None:
    import pyarrow.compute as pc

    if request_id is None or not lake.exists(table):
        return None
    rows = lake.read(table, filters=pc.field("request_id") == request_id).to_pylist()
    return rows[0] if rows else None


def _champion(stage: Stage) -> dict[str, Any]:
    """Returns the version that answers, and the columns of its predictions that people look at."""
    from mosaic_resources.mlflow.contract import CHAMPION

    dataset, found = stage.dataset(), stage.seams.registry.find(stage.script.model, CHAMPION)
    columns = [*dataset.entity_key, dataset.timestamp_field, "probability", "prediction", "model_version"]
    return {
        "champion": found.version if found else None,
        "asked_at": dataset.timestamp_field,
        "prediction_columns": columns,
    }


def _auc_by_month(stage: Stage) -> list[dict[str, Any]]:
    """Returns the quality of every table of batch predictions, by month and model version."""
    from mosaic_assets.models.learnt import learnt_by_version
    from mosaic_assets.monitors.component import MonitorComponent
    from mosaic_assets.monitors.quality import join_labels, quality_by_window
    from mosaic_resources.settings.clock import now_utc

    lake, now = stage.seams.lake, now_utc(stage.seams.settings.state)
    manifests = stage.seams.settings.state / "manifests"
    found: list[dict[str, Any]] = []
    for monitor in (one.monitor() for one in stage.components(MonitorComponent)):
        if not (monitor.label_table_name and monitor.label_col and monitor.prediction_col and monitor.timestamp_col):
            continue
        names = [
            monitor.label_col,
            *monitor.entity_key,
            *([monitor.label_known_col] if monitor.label_known_col else []),
        ]
        labels: pa.Table = lake.read(monitor.label_table_name, columns=names)
        for table in stage.prediction_tables():
            rows = lake.read(table)
            learnt: dict[str, datetime] = {}
            for name in rows["registered_model_name"].unique().to_pylist():
                learnt |= learnt_by_version(stage.seams.registry, manifests, name)
            joined = join_labels(
                rows,
                labels,
                monitor.entity_key,
                label_col=monitor.label_col,
                known_col=monitor.label_known_col,
                now_utc=now,
            )
            for one in quality_by_window(
                joined, prediction_col=monitor.prediction_col, timestamp_col=monitor.timestamp_col,
                model_col=monitor.model_id_col, granularity="1 month", min_labelled_rows=monitor.min_labelled_rows,
                learnt=learnt,
            ):  # fmt: skip
                found.append(
                    {
                        "month": f"{one.start:%Y-%m}",
                        "model": table.removeprefix("predictions/"),
                        "version": one.model_version,
                        "auc": one.auc,
                        "state": one.state,
                        "labelled": one.num_labelled,
                    }
                )
    return sorted(found, key=lambda row: (row["month"], row["model"], row["version"]))
