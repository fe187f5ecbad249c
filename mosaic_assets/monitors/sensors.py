"""The sensor that launches one retraining for an incident: polled, with a cursor and a cool-down."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import dagster as dg
from dagster._core.storage.runs import SqlRunStorage

from mosaic_assets.monitors.incident_log import append_events, read_events
from mosaic_assets.monitors.incidents import Event
from mosaic_assets.monitors.retraining import Cursor, Launch, claims, should_launch
from mosaic_resources.seams import Seams
from mosaic_resources.settings.clock import now_utc

__all__ = ["retraining_sensor"]

MONITOR_TAG, INCIDENT_TAG, COVERS_TAG = "mosaic/monitor", "mosaic/incident", "mosaic/covers"


def retraining_sensor(
    monitor: str, *, assets: Sequence[str], job: str | None, cooldown: timedelta, interval_seconds: int
) -> dg.SensorDefinition:
    """Returns the sensor of one monitor; it runs as soon as a daemon does.

    Three things keep a retraining from running twice: the cursor and the run key ``<incident>@<epoch>``, which Dagster
    keeps for each code location; the runs of the instance, whatever location launched them; and a claim in the incident
    log, which is written before the launch and names the instance, so another or a new instance on the same lake
    launches nothing that was launched before.

    Args:
        monitor: Name of the monitor.
        assets: Keys of the assets to materialize.
        job: Job to run instead.
        cooldown: Least time between two launches, on the project's clock.
        interval_seconds: Least time between two looks.
    """
    keys = [dg.AssetKey(key.split("/")) for key in assets]
    target: dict[str, Any] = {"job_name": job} if job else {"target": dg.AssetSelection.assets(*keys)}

    @dg.sensor(
        name=f"{monitor}_retraining",
        description=f"Launches one retraining for an incident of the monitor '{monitor}'.",
        minimum_interval_seconds=interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={"mosaic"},
        **target,
    )
    def look(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        seams: Seams = context.resources.mosaic.seams
        now, cursor = now_utc(seams.settings.state), Cursor.from_json(context.cursor)
        runs, launcher = _answered(context.instance, monitor), _launcher(context.instance)

        def decide(log: Sequence[Event]) -> tuple[list[Launch], Cursor]:
            return should_launch(log, cursor, cooldown, now, runs=runs, launcher=launcher)

        launches, kept = decide(read_events(seams.lake, monitor))
        if launches:

            def claim(log: Sequence[Event]) -> list[Event]:
                nonlocal launches, kept
                launches, kept = decide(log)  # somebody may have come between
                return claims(log, launches, launcher, now)

            append_events(seams.lake, monitor, claim)
            if seams.settings.writer == "delta-spark":
                seams.engine.close()  # else a driver would idle in the code server
        if not launches:
            return dg.SensorResult(skip_reason="No incident waits for a retraining.", cursor=kept.to_json())
        return dg.SensorResult(run_requests=[_request(monitor, launch) for launch in launches], cursor=kept.to_json())

    return look


def _answered(instance: dg.DagsterInstance, monitor: str) -> set[str]:
    """Returns the openings of incidents that a run of the instance answers, by any code location."""
    runs = instance.get_runs(filters=dg.RunsFilter(tags={MONITOR_TAG: monitor}))
    named = [
        name for run in runs for name in (run.tags.get(INCIDENT_TAG, ""), *run.tags.get(COVERS_TAG, "").split(","))
    ]
    return {name for name in named if name}


def _launcher(instance: dg.DagsterInstance) -> str:
    """Returns a name that the instance's run storage keeps for good."""
    storage = instance.run_storage
    return f"dagster {storage.get_run_storage_id()}" if isinstance(storage, SqlRunStorage) else "dagster"


def _request(monitor: str, launch: Launch) -> dg.RunRequest:
    tags = {MONITOR_TAG: monitor, INCIDENT_TAG: launch.run_key, COVERS_TAG: ",".join(launch.covers)}
    return dg.RunRequest(run_key=launch.run_key, tags=tags)
