"""The Dagster face of predictions: the inference table, and batches of predictions."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import dagster as dg
import pyarrow as pa
from pydantic import Field

from mosaic_assets.asset_fields import AssetFields
from mosaic_assets.catalogue import reference, where
from mosaic_assets.datasets.component import DatasetComponent
from mosaic_assets.features.component import feature_service
from mosaic_assets.features.join import join_features
from mosaic_assets.features.views import FeatureService
from mosaic_assets.orchestration.station import station
from mosaic_assets.predictions.skew import NO_SKEW
from mosaic_assets.services.component import ANSWER, ServiceComponent
from mosaic_assets.tables.query import Columns, pin, read_text, run_query, tables_in
from mosaic_assets.work import Made, Work, code_hash
from mosaic_resources.engine.session import engine_errors
from mosaic_resources.errors import UserError

if TYPE_CHECKING:
    from mosaic_assets.services.champion import AliasedModel

__all__ = ["BatchPredictionComponent", "InferenceTableComponent"]

NO_SKEW_SAYS = (
    "What the endpoint looked up for the new requests is what the join over the tables says of the same moments."
)


class InferenceTableComponent(AssetFields, dg.Component, dg.Resolvable):
    """What a service was asked and what it answered, each request once; drained from the endpoint's log."""

    service: str = Field(description="Service, by name.", examples=["my_service"])
    remove_drained: bool = Field(
        False, description="Whether to delete log files that are in the table and no longer written."
    )

    skew_check: bool = Field(
        True, description="Whether new requests are replayed through the join: it must say what was looked up."
    )

    @property
    def key(self) -> str:
        """Key of the asset and its table."""
        return f"predictions/{self.service}_requests"

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Returns the asset of the inference table."""
        service = reference(context, ServiceComponent, self.service, "service")
        dataset = reference(context, DatasetComponent, service.dataset, "service")
        features = feature_service(context, dataset.feature_service)
        replayed = [view.source for view, _ in features.views] if self.skew_check else []
        check = dg.AssetCheckSpec(NO_SKEW, asset=dg.AssetKey(self.key.split("/")), description=NO_SKEW_SAYS)
        asset = station(
            self,
            key=self.key,
            station_name="predictions",
            kinds=("delta",),
            deps=[service.key, *replayed],
            code=code_hash("inference table", self.remove_drained, self.skew_check),
            run=lambda work: self.execute(work, service.key, dict(dataset.request), features),
            check_specs=[check] if self.skew_check else [],
        )
        return dg.Definitions(assets=[asset])

    def execute(self, work: Work, service_key: str, request: Mapping[str, str], features: FeatureService) -> Made:
        """Appends what was logged since the last run, and replays it through the join."""
        from mosaic_assets.lineage.names import request_log_use
        from mosaic_assets.predictions.inference_table import drain
        from mosaic_assets.predictions.skew import skew_of_new_rows

        lake, spool = work.seams.lake, work.seams.settings.spool
        work.lineage.reads(request_log_use(spool, self.service))
        before = lake.version(self.key)
        drained = drain(lake, spool, self.service, self.key, work.commit(), remove_drained=self.remove_drained)
        counts = {
            "new_rows": drained.num_rows,
            "log_files": drained.num_segments,
            "log_files_removed": len(drained.removed),
        }
        checks = [skew_of_new_rows(work, self.key, before, request, features)] if self.skew_check else []
        if not lake.exists(self.key):
            return Made(num_rows=0, metadata=counts, checks=checks)
        version = lake.open(self.key).version()
        num_rows, schema, columns = (
            lake.num_rows(self.key, version),
            lake.schema(self.key),
            _logged(service_key, features),
        )
        return Made(self.key, version, num_rows, schema, columns, metadata=counts, checks=checks)


def _logged(service_key: str, service: FeatureService) -> Columns:
    """Returns the sources of the inference table: what the service answers, and what it looked up."""
    looked_up = [(f"online/{service.name}", column) for column in service.columns]
    answered = [(service_key, name) for name, _ in ANSWER]
    return {"features": looked_up, "response": answered}


class BatchPredictionComponent(AssetFields, dg.Component, dg.Resolvable):
    """Predictions for the rows of a query, partition by partition, with the features they were made from."""

    scaffolded = ("partitions_def", "deps")

    name: str = Field(description="Name of the table.", examples=["my_predictions"])
    sql: str = Field(
        description="SQL file of the rows to score: keys, time, request columns, partition column.",
        examples=["to_score.sql"],
    )
    partition_by: str = Field(description="Column that holds the partition's key.", examples=["month"])
    dataset: str = Field(
        description="Dataset of the model, by name; it says which columns a row needs.", examples=["my_dataset"]
    )
    registered_model_name: str = Field(description="Name of the model in the registry.", examples=["my_model"])
    versions: Sequence[Literal["champion", "challenger", "newest"]] = Field(
        ("champion",),
        description="Versions that predict; an alias that stands nowhere is passed over, the first must stand.",
    )
    deps: Sequence[str] = Field(
        (), description="Assets that decide what the alias names.", examples=[["models/my_model"]]
    )

    @property
    def key(self) -> str:
        """Key of the asset and its table."""
        return f"predictions/{self.name}"

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Returns the asset of the predictions."""
        if self.partitions_def is None:
            raise UserError(
                "A batch of predictions needs 'partitions_def'.", where(context, "partition_by"), "Declare it."
            )
        query = read_text(Path(context.path) / self.sql, where(context, "sql"))
        dataset = reference(context, DatasetComponent, self.dataset, "dataset")
        service = feature_service(context, dataset.feature_service)
        asset = station(
            self,
            key=self.key,
            station_name="predictions",
            kinds=("delta", "onnx"),
            deps=[*self.deps, *tables_in(query), *(view.source for view, _ in service.views)],
            code=code_hash("batch", query, service, self.registered_model_name, self.versions),
            run=lambda work: self.execute(work, dataset, service, query),
        )
        return dg.Definitions(assets=[asset])

    def execute(self, work: Work, dataset: DatasetComponent, service: FeatureService, query: str) -> Made:
        """Joins the partition's rows with their features, scores them and replaces the partition."""
        from mosaic_assets.services.champion import aliased_model, find_model

        lake, settings = work.seams.lake, work.seams.settings
        models = [aliased_model(work.seams, self.registered_model_name, self.versions[0], self.dataset)]
        models += [
            found
            for one in self.versions[1:]
            if (found := find_model(work.seams, self.registered_model_name, one, self.dataset))
        ]
        tables, views = pin(work, tables_in(query)), pin(work, [view.source for view, _ in service.views])
        frame, columns = run_query(work, query, tables)
        with engine_errors(settings.engine, work.asset):
            entity_df = frame.toArrow()

        by_version = {aliased.model.identity.version: aliased for aliased in models}
        scored = pa.concat_tables(
            [self.score(work, aliased, entity_df, dataset, service, tables, views) for aliased in by_version.values()]
        )
        keys = ", ".join(repr(key) for key in work.partitions)
        version = lake.write(
            self.key,
            scored,
            work.commit(),
            predicate=f"{self.partition_by} in ({keys})",
            partition_by=[self.partition_by],
            evolve=True,  # A view that gained a feature; months that were scored before read as NULL there.
        )
        return Made(
            self.key, version, lake.num_rows(self.key, version), scored.schema, columns, scored,
            metadata={
                "rows_written": scored.num_rows,
                "model_versions": ", ".join(by_version),
                "partitions": ", ".join(work.partitions),
            },
        )  # fmt: skip

    def score(
        self,
        work: Work,
        aliased: "AliasedModel",
        entity_df: pa.Table,
        dataset: DatasetComponent,
        service: FeatureService,
        tables: Mapping[str, int],
        views: Mapping[str, int],
    ) -> pa.Table:
        """Returns the predictions of one version, with the on-demand function that it was fitted with."""
        from mosaic_assets.lineage.names import model_version_use
        from mosaic_assets.predictions.batch import score_batch
        from mosaic_assets.services.champion import on_demand_file
        from mosaic_resources.bentos.on_demand import load_on_demand

        identity, lake = aliased.model.identity, work.seams.lake
        work.lineage.reads(
            model_version_use(
                work.seams.settings.mlflow_tracking_uri, identity.registered_model_name, identity.version,
                run_id=identity.run_id, manifest_id=identity.manifest_id,
            )
        )  # fmt: skip
        with tempfile.TemporaryDirectory(prefix="mosaic-batch-") as scratch:
            file = on_demand_file(aliased, Path(scratch))
            on_demand = load_on_demand(file) if file else None
        rows = join_features(
            entity_df, service, lambda view: lake.read(view.source, views[view.source]),
            timestamp_field=dataset.timestamp_field, request=tuple(dataset.request), on_demand=on_demand,
        )  # fmt: skip
        return score_batch(
            rows, aliased.model, keep=rows.column_names, data_versions={**tables, **views}, scored_at=work.now_utc
        )
