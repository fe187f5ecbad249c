"""The chapters of a story, in order. Each can be run again: what it finds done, it does not double."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pyarrow as pa

from mosaic_assets.orchestration.processes import process_group
from mosaic_assets.orchestration.run import definitions_module
from mosaic_assets.orchestration.story import Stage, month_after
from mosaic_resources.errors import DependencyError

__all__ = ["Chapter", "chapters"]

Tick = Callable[[str], None]
Facts = Mapping[str, Any]
SWITCH_REQUESTS, SWITCH_RATE = 2400, 150.0
RETRAINING_TIMEOUT_SECONDS = 600.0


@dataclass(frozen=True)
class Chapter:
    """One stretch of the story.

    Args:
        name: Name in the progress file.
        title: What it does, for people.
        run: Does it and returns what it found; tells each step by name.
    """

    name: str
    title: str
    run: Callable[[Stage, Tick], Facts]


def chapters(stage: Stage) -> Iterator[Chapter]:
    """Returns the chapters of a stage's story."""
    first, last = stage.script.history
    yield Chapter("landing", f"land {first} to {last} as files", _history("landing"))
    yield Chapter("tables", "ingest, clean and sift into Delta tables", _history("tables"))
    yield Chapter("features", "compute the feature views", _history("features"))
    yield Chapter("dataset", "join features as they were known, pin a manifest", _history("dataset"))
    yield Chapter("models", "train, tune, gate and register the champion; train the reference", _history("models"))
    yield Chapter("service", "materialize online, build the Bento, start the endpoint", _serve)
    drifting, deciding = stage.script.arriving
    yield Chapter("requests", f"{drifting} arrives: play its events and {stage.script.requests} requests", _play)
    yield Chapter("monitor", f"score {drifting}, profile it, compare it with the training data", _monitor)
    yield Chapter("retraining", "the daemon answers the incident with one retraining", _retrain)
    yield Chapter("decision", f"{deciding} arrives: its labels decide between the two", _decide)
    yield Chapter("rollout", "switch the endpoint under load", _rollout)
    yield Chapter("closing", f"monitor {deciding} against the new champion's data, send lineage", _close)


def _history(station: str) -> Callable[[Stage, Tick], Facts]:
    def run(stage: Stage, tick: Tick) -> Facts:
        stage.set_clock(month_after(stage.script.history[1]))
        stage.make(station, stage.script.history, tick)
        return {}

    return run


def _serve(stage: Stage, tick: Tick) -> Facts:
    from mosaic_assets.services.endpoints import start_built

    stage.set_clock(month_after(stage.script.history[1]))
    stage.make("service", on_step=tick)
    endpoint = start_built(stage.seams.settings, stage.script.service, simulated_clock=True)
    return {"endpoint": endpoint.url, "first_version": endpoint.model_version}


def _arrive(stage: Stage, month: str, tick: Tick) -> None:
    stage.set_clock(month_after(month))
    for station in ("landing", "tables", "features"):
        stage.make(station, (month, month), tick)


def _play(stage: Stage, tick: Tick) -> Facts:
    from mosaic_assets.predictions.player import Timeline, play, request_bodies
    from mosaic_assets.services.endpoints import start_built

    month = stage.script.arriving[0]
    _arrive(stage, month, tick)
    seams, dataset, service = stage.seams, stage.dataset(), stage.feature_service()
    endpoint = start_built(seams.settings, stage.script.service, simulated_clock=True)
    began = int(month_after(stage.script.history[1]).timestamp() * 1e6)
    timelines = [Timeline(view, seams.lake.read(view.source), began) for view, _ in service.views if view.online]
    rows = _evenly(stage.request_rows(month), stage.script.requests, dataset.timestamp_field)
    bodies = request_bodies(rows, dataset.request, dataset.timestamp_field, stage.script.request_id)
    stage.make("log", on_step=tick)
    before = stage.num_logged()  # Bodies are in order of time, so an interrupted play goes on where it stood.
    played = play(endpoint.url, bodies[before:], timelines, service, seams.online, on_request=lambda: tick("request"))
    stage.make("log", on_step=tick)
    return {
        "answers": before + len(played.answers),
        "logged": stage.num_logged(),
        "rows_pushed": played.num_pushed,
        "p50_ms": round(played.percentile_ms(50), 2),
        "p99_ms": round(played.percentile_ms(99), 2),
        "request_id": stage.last_request_id(),
        "example_body": bodies[-1][1],
    }


def _monitor(stage: Stage, tick: Tick) -> Facts:
    month = stage.script.arriving[0]
    stage.set_clock(month_after(month))
    stage.make("scores", (month, month), tick)
    stage.make("monitor", (month, month), tick)
    return {}


def _retrain(stage: Stage, tick: Tick) -> Facts:
    from mosaic_assets.orchestration.servers import start_code_server, start_daemon
    from mosaic_resources.mlflow.contract import CHALLENGER

    seams = stage.seams
    known = seams.registry.find(stage.script.model, CHALLENGER)
    if known is not None:
        return {"challenger_version": known.version}
    with process_group(seams.settings.state / "logs", stage.environment) as group:
        workspace = start_code_server(group, stage.root, seams.settings.state, definitions_module(stage.root))
        start_daemon(group, stage.root, workspace)
        tick("daemon")
        run = _wait_for_retraining(stage, tick)
    if run.status is not dg.DagsterRunStatus.SUCCESS:
        raise DependencyError(
            "The retraining failed.", f"run {run.run_id}", f"See {seams.settings.state / 'logs'} or the UI."
        )
    challenger = seams.registry.find(stage.script.model, CHALLENGER)
    if challenger is None:
        raise DependencyError("The retraining registered no challenger.", f"run {run.run_id}")
    return {
        "challenger_version": challenger.version,
        "retraining_run": run.run_id,
        "incident": run.tags["mosaic/incident"],
    }


def _wait_for_retraining(stage: Stage, tick: Tick) -> dg.DagsterRun:
    ended = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
    deadline, told = time.monotonic() + RETRAINING_TIMEOUT_SECONDS, ""
    while time.monotonic() < deadline:
        runs = stage.instance.get_runs(filters=dg.RunsFilter(tags={"mosaic/monitor": stage.script.monitor}), limit=1)
        if runs and runs[0].status in ended:
            return runs[0]
        state = runs[0].status.value.lower() if runs else "waiting for the sensor"
        if state != told:
            tick(f"run {state}")
            told = state
        time.sleep(1.0)
    raise DependencyError(
        "No retraining came of the incident.", do=f"See {stage.seams.settings.state / 'logs' / 'daemon.log'}."
    )


def _decide(stage: Stage, tick: Tick) -> Facts:
    month = stage.script.arriving[1]
    _arrive(stage, month, tick)
    stage.make("scores", (month, month), tick)
    stage.make("decision", (month, month), tick)
    last = stage.seams.lake.read(f"monitors/{stage.script.monitor}_decision").sort_by("decided_at").to_pylist()[-1]
    return {"verdict": last["verdict"], "reasons": last["reasons"]}


def _rollout(stage: Stage, tick: Tick) -> Facts:
    from mosaic_assets.predictions.load import Load
    from mosaic_assets.predictions.player import request_bodies
    from mosaic_assets.services.endpoints import start_built

    month, seams, dataset = stage.script.arriving[1], stage.seams, stage.dataset()
    endpoint = start_built(seams.settings, stage.script.service, simulated_clock=True)
    rows = _evenly(stage.request_rows(month), 200, dataset.timestamp_field)
    bodies = [
        body for _, body in request_bodies(rows, dataset.request, dataset.timestamp_field, stage.script.request_id)
    ]
    headers = {"x-mosaic-time": month_after(month).isoformat().replace("+00:00", "Z")}
    load = Load(
        endpoint.url, bodies, requests_per_second=SWITCH_RATE, min_requests=SWITCH_REQUESTS, headers=headers
    ).start()
    try:
        stage.make("service", on_step=tick)
    finally:
        report = load.finish()
    stage.make("log", on_step=tick)
    return {
        "switch_requests": report.num_requests,
        "switch_failed": report.num_failed,
        "switch_failures": report.failures,
        "switch_versions": report.versions,
        "switch_rate": round(report.requests_per_second, 1),
        "switch_p99_ms": round(report.percentile_ms(99), 2),
    }


def _close(stage: Stage, tick: Tick) -> Facts:
    from mosaic_assets.lineage.send import send_lineage

    month = stage.script.arriving[1]
    stage.make("monitor", (month, month), tick)
    sent = send_lineage(stage.seams.settings)
    return {"lineage_sent": sent.sent}


def _evenly(rows: pa.Table, wanted: int, timestamp_field: str) -> pa.Table:
    """Returns so many rows, evenly spread over time."""
    ordered = rows.sort_by(timestamp_field)
    if ordered.num_rows <= wanted:
        return ordered
    return ordered.take(pa.array([position * ordered.num_rows // wanted for position in range(wanted)]))
