"""The sensor that launches one retraining for an incident: polled, with a cursor and a cool-down."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import dagster as dg

from mosaic_assets.monitors.incident_log import read_events
from mosaic_assets.monitors.retraining import Cursor, Launch, should_launch
from mosaic_resources.seams import Seams
from mosaic_resources.settings.clock import now_utc

__all__ = ["retraining_sensor"]


def retraining_sensor(
    monitor: str, *, assets: Sequence[str], job: str | None, cooldown: timedelta, interval_seconds: int
) -> dg.SensorDefinition:
    """Returns the sensor of one monitor; it runs as soon as a daemon does.

    Two things keep a retraining from running twice: the cursor, which the daemon keeps, and the run key
    ``<incident>@<epoch>``, which Dagster never launches again. The cursor is returned at every tick, also when nothing
    was launched.

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
        now = now_utc(seams.settings.state)
        events = read_events(seams.lake, monitor)
        launches, cursor = should_launch(events, Cursor.from_json(context.cursor), cooldown, now)
        if not launches:
            return dg.SensorResult(skip_reason="No incident waits for a retraining.", cursor=cursor.to_json())
        return dg.SensorResult(run_requests=[_request(monitor, launch) for launch in launches], cursor=cursor.to_json())

    return look


def _request(monitor: str, launch: Launch) -> dg.RunRequest:
    tags = {"mosaic/monitor": monitor, "mosaic/incident": launch.run_key, "mosaic/covers": ",".join(launch.covers)}
    return dg.RunRequest(run_key=launch.run_key, tags=tags)
