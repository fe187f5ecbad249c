"""The seams as a Dagster resource; the only file of this package that imports Dagster."""

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.decorators.hook_decorator import event_list_hook
from dagster._core.definitions.events import HookExecutionResult

from mosaic_resources.errors import extras_named
from mosaic_resources.seams import Seams
from mosaic_resources.settings.settings import find_project_root, load_settings

__all__ = ["MosaicResource", "end_mlflow_run", "mlflow_run", "resources"]

TRACKING_URI = "MLFLOW_TRACKING_URI"


class MosaicResource(dg.ConfigurableResource[Any]):
    """Everything that a step opens, by the addresses of one target.

    Args:
        project_root: Folder with pyproject.toml.
        target: Name of the target; empty takes ``MOSAIC_TARGET`` or ``dev``.
    """

    project_root: str
    target: str = ""

    @property
    def seams(self) -> Seams:
        """The seams; opened once for each process, so steps share one engine session."""
        return _seams(self.project_root, self.target)


@lru_cache(maxsize=4)
def _seams(project_root: str, target: str) -> Seams:
    return Seams(load_settings(Path(project_root), target=target or None), open_with_dagster)


def open_with_dagster(config: dict[str, str]) -> Any:
    """Returns an engine session opened by dagster-pyspark's resource."""
    from dagster_pyspark import PySparkResource

    with dg.build_resources({"pyspark": PySparkResource(spark_config=config)}) as opened:
        return opened.pyspark.spark_session


def resources(start: Path, target: str = "") -> dict[str, Any]:
    """Returns the resources of the project that ``start`` lies in, for ``dg.Definitions``."""
    return {"mosaic": MosaicResource(project_root=str(find_project_root(start.resolve())), target=target)}


def mlflow_run(experiment: str) -> dg.ResourceDefinition:
    """Returns dagster-mlflow's ``mlflow_tracking`` on the target's tracking store; imported when a run begins.

    dagster-mlflow takes seconds to import, so the definitions hold only this way to it.

    Args:
        experiment: MLflow experiment of the job's runs.
    """

    @dg.resource(required_resource_keys={"mosaic"}, description="One MLflow run for the job, by dagster-mlflow.")
    def mlflow(context: dg.InitResourceContext) -> Iterator[Any]:
        with extras_named():
            from dagster_mlflow import mlflow_tracking

        seams: Seams = context.resources.mosaic.seams
        assert seams.registry  # Sets MLflow's own limits first.
        config = {
            "experiment_name": experiment,
            "mlflow_tracking_uri": seams.settings.mlflow_tracking_uri,
            "env": {},
            "extra_tags": {},
        }
        before = os.environ.get(TRACKING_URI)
        try:
            yield from mlflow_tracking.resource_fn(context.replace_config(config))  # type: ignore[misc, call-arg]
        finally:  # MLflow writes the address into the environment, where another project would find it.
            os.environ.pop(TRACKING_URI, None)
            if before is not None:
                os.environ[TRACKING_URI] = before

    return mlflow


@event_list_hook(name="end_mlflow_on_run_finished", required_resource_keys={"mlflow"})
def end_mlflow_run(context: dg.HookContext, event_list: Any) -> HookExecutionResult:
    """Closes the job's MLflow run by dagster-mlflow's own hook; imported when a step has ended."""
    from dagster_mlflow import end_mlflow_on_run_finished

    return end_mlflow_on_run_finished.hook_fn(context, event_list)  # type: ignore[no-any-return]
