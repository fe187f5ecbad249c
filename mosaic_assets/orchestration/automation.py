"""What runs by itself beside the assets: lineage is sent while a daemon lives."""

import dagster as dg

from mosaic_resources.seams import Seams

__all__ = ["lineage_sensor"]

BUDGET_SECONDS = 10.0


def lineage_sensor(interval_seconds: int = 30) -> dg.SensorDefinition:
    """Returns the sensor that sends what waits in the lineage outbox; a dead collector leaves it waiting.

    Args:
        interval_seconds: Least time between two looks.
    """

    @dg.sensor(
        name="send_lineage",
        description="Sends OpenLineage events that wait in the outbox.",
        minimum_interval_seconds=interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys={"mosaic"},
    )
    def send(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        from mosaic_assets.lineage.send import send_lineage

        seams: Seams = context.resources.mosaic.seams
        report = send_lineage(seams.settings, BUDGET_SECONDS)
        problem = f" {report.problem}" if report.problem else ""
        return dg.SkipReason(f"{report.sent} sent, {report.waiting} waiting.{problem}")

    return send
