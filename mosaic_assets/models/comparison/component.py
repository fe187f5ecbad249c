"""The Dagster face of the comparison: an op job, for a person who wants all versions side by side."""

from collections.abc import Sequence
from pathlib import Path

import dagster as dg
from pydantic import Field

from mosaic_assets.scaffolder import DeclarationScaffolder
from mosaic_resources.dagster import end_mlflow_run, mlflow_run, resources
from mosaic_resources.seams import Seams

__all__ = ["ModelComparisonComponent"]


@dg.scaffold_with(DeclarationScaffolder)
class ModelComparisonComponent(dg.Component, dg.Model, dg.Resolvable):
    """A job that scores every registered version of some models on the same rows, in one MLflow run.

    A version that has learnt from the rows is marked: its metrics are ``in_sample_<metric>``, and it is never best.
    """

    name: str = Field(description="Name of the job.", examples=["compare_my_models"])
    models: Sequence[str] = Field(description="Registered models.", examples=[["my_model", "my_model_reference"]])
    table: str = Field(description="Labelled rows with the models' columns.", examples=["datasets/my_dataset"])
    label: str = Field(description="Label column.", examples=["label"])
    split: str = Field("validation", description="Value of the column 'split' whose rows are scored.")

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Returns the job; its runs are tracked by dagster-mlflow's own resource and closed by its hook."""
        component = self

        @dg.op(required_resource_keys={"mosaic", "mlflow"}, out=dg.Out(list))
        def score_all_versions(context: dg.OpExecutionContext) -> list[dict[str, object]]:
            return component.score(context)

        @dg.op(required_resource_keys={"mlflow"}, out=dg.Out(dg.Nothing))
        def rank_versions(context: dg.OpExecutionContext, lines: list[dict[str, object]]) -> None:
            honest = [line for line in lines if not line["in_sample"]]
            best = f"{honest[0]['name']}/{honest[0]['version']}" if honest else "none: all have learnt from the rows"
            context.resources.mlflow.set_tags({"best": best})
            context.log.info("Best: %s", best)

        @dg.job(
            name=self.name,
            description=f"Scores all versions of {', '.join(self.models)} on {self.table} ({self.split}).",
            resource_defs={"mlflow": mlflow_run(self.name), **resources(Path(context.path))},  # type: ignore[dict-item]
            hooks={end_mlflow_run},
        )
        def compare() -> None:
            rank_versions(score_all_versions())

        return dg.Definitions(jobs=[compare])

    def score(self, context: dg.OpExecutionContext) -> list[dict[str, object]]:
        """Scores the versions, logs each one's figures and returns them: those not in-sample first, best first."""
        import pyarrow.compute as pc

        from mosaic_assets.models.comparison.score import score_versions

        seams: Seams = context.resources.mosaic.seams
        rows = seams.lake.read(self.table, filters=pc.field("split") == self.split)
        lines = score_versions(seams.registry, self.models, rows, self.label, seams.settings.state)
        for line in lines:
            head = f"{line.name}_v{line.version}.{'in_sample_' if line.in_sample else ''}"
            context.resources.mlflow.log_metrics({f"{head}{metric}": value for metric, value in line.metrics.items()})
        return [
            {"name": line.name, "version": line.version, "in_sample": line.in_sample, **line.metrics} for line in lines
        ]
