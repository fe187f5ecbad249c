"""The Dagster face of dbt: each model is an asset of the same shape as the other tables, its tests are checks."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from mosaic_assets.asset_fields import ExploredFields
from mosaic_assets.catalogue import project_root
from mosaic_assets.orchestration.station import station
from mosaic_assets.tables.dbt.project import DbtModel, load_manifest, models_of, prepare
from mosaic_assets.tables.query import Columns, pin
from mosaic_assets.work import CheckOutcome, Made, Work, code_hash
from mosaic_resources.delta.locks import hold_rewrites
from mosaic_resources.settings.settings import load_settings

__all__ = ["DbtTablesComponent"]


class DbtTablesComponent(ExploredFields, dg.Component, dg.Resolvable):
    """The models of a dbt project; sources join our tables by name, tests become checks."""

    scaffolded = ("project",)

    project: str = Field("dbt_project", description="Folder of the dbt project, relative to the project's root.")

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Returns one asset for each model."""
        root = project_root(context)
        folder = root / self.project
        prepare(folder, load_settings(root).lake)
        return dg.Definitions(assets=[self._asset(model, folder) for model in models_of(load_manifest(folder))])

    def _asset(self, model: DbtModel, folder: Path) -> dg.AssetsDefinition:
        key = dg.AssetKey(model.key.split("/"))
        return station(
            self.model_copy(update={"description": self.description or model.description or None}),
            key=model.key,
            station_name="tables",
            kinds=("delta", "dbt"),
            deps=model.deps,
            code=code_hash("dbt", model.checksum),
            run=lambda work: self.execute(work, model, folder),
            check_specs=[dg.AssetCheckSpec(test.name, asset=key) for test in model.tests],
        )

    def execute(self, work: Work, model: DbtModel, folder: Path) -> Made:
        """Runs the model and its tests on the step's session."""
        from mosaic_assets.tables.dbt.run import run_dbt

        lake, engine = work.seams.lake, work.seams.engine
        pin(work, model.deps)
        remote = engine.engine.spark_config().get("spark.remote")
        with hold_rewrites(lake.root, model.key):  # Sail commits here, past our writer.
            results = {
                result.unique_id: result
                for result in run_dbt(folder, [model.unique_id.split(".")[-1]], lake.root, remote, engine.session())
            }
        made = results[model.unique_id]
        checks = [
            CheckOutcome(
                test.name,
                results[test.unique_id].ok,
                results[test.unique_id].message,
                {"failures": results[test.unique_id].failures},
            )
            for test in model.tests
            if test.unique_id in results
        ]
        handle = lake.open(model.key)
        rows = lake.read(model.key)
        return Made(
            model.key, handle.version(), rows.num_rows, rows.schema, _columns(work, model, folder, made.compiled), rows,
            metadata={"dbt_seconds": made.seconds, "dbt_unique_id": model.unique_id}, checks=checks,
        )  # fmt: skip


def _columns(work: Work, model: DbtModel, folder: Path, compiled: str | None) -> Columns | None:
    """Returns the column lineage of a model's compiled SQL, by the same pass as our own queries."""
    from mosaic_assets.lineage.columns import column_lineage
    from mosaic_assets.lineage.sql import rename_tables, tables_of
    from mosaic_resources.delta.schema import schema_rows

    if compiled is None:
        return None
    lake = work.seams.lake
    # dbt writes a source as delta.`/lake/tables/arrivals`: give it its name back.
    places = {f"delta.{lake.path(dep)}": dep.replace("/", ".") for dep in model.deps}
    query = rename_tables(compiled, {name: places[name] for name in tables_of(compiled) if name in places})
    schemas = {dep.replace("/", "."): dict(schema_rows(lake.schema(dep))) for dep in model.deps}
    known = column_lineage(query, schemas).known
    return {out: [(table.replace(".", "/"), name) for table, name in used] for out, used in known.items()}
