"""The chapter in which Dagster's daemon answers the incident; a retraining that was killed is run again."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.storage.tags import GRPC_INFO_TAG

from mosaic_assets.monitors.sensors import INCIDENT_TAG, MONITOR_TAG
from mosaic_assets.orchestration.processes import process_group
from mosaic_assets.orchestration.run import definitions_module, materialize, num_steps, step_names
from mosaic_assets.orchestration.story import Stage
from mosaic_assets.orchestration.ticker import Ticker, listener
from mosaic_resources.engine.connect import reachable
from mosaic_resources.errors import DependencyError

__all__ = ["retrain"]

TIMEOUT_SECONDS = 600.0
ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
REPEATS_TAG = "mosaic/repeats"


def retrain(stage: Stage, ticker: Ticker) -> Mapping[str, Any]:
    """Lets the daemon retrain, and returns the challenger, the run and the incident.

    Raises:
        DependencyError: No retraining came, or it failed, or it registered no challenger.
    """
    from mosaic_resources.mlflow.contract import CHALLENGER

    seams, assets = stage.seams, _assets(stage)
    known, earlier = seams.registry.find(stage.script.model, CHALLENGER), _last_run(stage)
    if known is not None and earlier is not None:  # an interruption came after it
        return _facts(known.version, earlier)
    ticker.expect(num_steps(stage.defs, assets) + 1)
    broken = _broken(stage)
    run = _again(stage, broken, assets, ticker) if broken else _by_daemon(stage, assets, ticker)
    if run.status is not dg.DagsterRunStatus.SUCCESS:
        logs = seams.settings.state / "logs"
        raise DependencyError("The retraining failed.", f"run {run.run_id}", f"See {logs} or the UI.")
    challenger = seams.registry.find(stage.script.model, CHALLENGER)
    if challenger is None:
        raise DependencyError("The retraining registered no challenger.", f"run {run.run_id}")
    return _facts(challenger.version, run)


def _facts(version: str, run: dg.DagsterRun) -> dict[str, Any]:
    return {"challenger_version": version, "retraining_run": run.run_id, "incident": run.tags[INCIDENT_TAG]}


def _assets(stage: Stage) -> list[str]:
    from mosaic_assets.monitors.component import MonitorComponent

    declared = next(one for one in stage.components(MonitorComponent) if one.name == stage.script.monitor)
    return list(declared.retraining.assets) if declared.retraining else []


def _last_run(stage: Stage) -> dg.DagsterRun | None:
    runs = stage.instance.get_runs(filters=dg.RunsFilter(tags={MONITOR_TAG: stage.script.monitor}), limit=1)
    return runs[0] if runs else None


def _broken(stage: Stage) -> dg.DagsterRun | None:
    """Returns the retraining that an interruption has ended: its code server is gone, or it was not a success."""
    run = _last_run(stage)
    if run is None or run.status is dg.DagsterRunStatus.SUCCESS:
        return None
    return run if run.status in ENDED or not _has_server(run) else None


def _has_server(run: dg.DagsterRun) -> bool:
    try:
        told = json.loads(run.tags[GRPC_INFO_TAG])
        return bool(reachable(str(told["host"]), int(told["port"])))
    except (KeyError, ValueError, TypeError):
        return False


def _again(stage: Stage, broken: dg.DagsterRun, assets: Sequence[str], ticker: Ticker) -> dg.DagsterRun:
    """Runs a broken retraining's assets again, here: neither cursor nor run key would let the sensor launch it."""
    if broken.status not in ENDED:
        stage.instance.report_run_failed(broken, "The process that ran it has ended.")
    kept = {name: value for name, value in broken.tags.items() if name.startswith("mosaic/")}
    ticker.done("found the retraining that was interrupted")
    tags = {**kept, REPEATS_TAG: broken.run_id}
    result = materialize(stage.defs, stage.instance, assets, tags=tags, ticker=ticker)
    run = stage.instance.get_run_by_id(result.run_id)
    assert run is not None
    return run


def _by_daemon(stage: Stage, assets: Sequence[str], ticker: Ticker) -> dg.DagsterRun:
    from mosaic_assets.orchestration.servers import start_code_server, start_daemon

    state = stage.seams.settings.state
    with process_group(state / "logs", stage.environment) as group:
        ticker.begun("daemon")
        workspace = start_code_server(group, stage.root, state, definitions_module(stage.root))
        start_daemon(group, stage.root, workspace)
        return _wait(stage, assets, ticker)


def _wait(stage: Stage, assets: Sequence[str], ticker: Ticker) -> dg.DagsterRun:
    hear, num_heard = listener(ticker, step_names(stage.defs, assets), {}), 0
    deadline = time.monotonic() + TIMEOUT_SECONDS
    ticker.note("waits for the sensor")
    while time.monotonic() < deadline:
        run = _last_run(stage)
        if run is not None:
            if num_heard == 0:
                ticker.done("daemon")
            entries = stage.instance.all_logs(run.run_id)
            for entry in entries[num_heard:]:
                hear(entry)
            num_heard = len(entries)
            if run.status in ENDED:
                return run
        time.sleep(1.0)
    raise DependencyError(
        "No retraining came of the incident.", do=f"See {stage.seams.settings.state / 'logs' / 'daemon.log'}."
    )
