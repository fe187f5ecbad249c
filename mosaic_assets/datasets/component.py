"""The Dagster face of datasets."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import dagster as dg
from pydantic import Field

from mosaic_assets.asset_fields import AssetFields
from mosaic_assets.catalogue import where
from mosaic_assets.datasets.build import DatasetPlan, build_rows, finish
from mosaic_assets.datasets.manifest import Manifest
from mosaic_assets.datasets.splits import TimeSplit
from mosaic_assets.features.component import feature_service
from mosaic_assets.features.definition import service_definition
from mosaic_assets.features.views import FeatureService, FeatureView
from mosaic_assets.orchestration.station import station
from mosaic_assets.tables.query import pin, read_text, run_query, tables_in
from mosaic_assets.work import Made, Work, code_hash
from mosaic_resources.bentos.on_demand import load_on_demand
from mosaic_resources.engine.session import engine_errors

__all__ = ["DatasetComponent", "SplitFields"]


class SplitFields(dg.Model, dg.Resolvable):
    """The newest whole months that are held out."""

    validation_months: int = Field(1, ge=0, description="Months to tune on.")
    test_months: int = Field(0, ge=0, description="Newest months, scored once.")


class DatasetComponent(AssetFields, dg.Component, dg.Resolvable):
    """Labels joined with features as they were known at each row's time, pinned by a manifest."""

    name: str = Field(description="Name of the dataset.", examples=["flight_delays"])
    sql: str = Field(description="SQL file of the entity table: keys, times, label.", examples=["labels.sql"])
    feature_service: str = Field(description="Features, by the service's name.", examples=["flight_delay"])
    entity_key: Sequence[str] = Field(description="Columns that identify a row.", examples=[["flight_id"]])
    timestamp_field: str = Field(description="Time that a row looks from.", examples=["asked_at"])
    label: str = Field(description="Label column.", examples=["late"])
    label_known_field: str = Field(
        description="Column that says when the label became known.", examples=["label_known_ts"]
    )
    request: Mapping[str, str] = Field(
        description="What a request holds: column → string, int64, float64 or timestamp.",
        examples=[{"aircraft": "string", "departs_at": "timestamp"}],
    )
    on_demand: str | None = Field(
        None, description="Python file with def features(request).", examples=["on_demand.py"]
    )
    split: SplitFields = Field(SplitFields.model_validate({}), description="What is held out.")

    @property
    def table(self) -> str:
        """Key of the dataset's table."""
        return f"datasets/{self.name}"

    def plan(self, service: FeatureService, folder: Path) -> DatasetPlan:
        """Returns what the dataset is made of.

        Args:
            service: The feature service.
            folder: Folder of the YAML.
        """
        on_demand = load_on_demand(folder / self.on_demand) if self.on_demand else None
        return DatasetPlan(
            self.name, service, tuple(self.entity_key), self.timestamp_field,
            self.label, self.label_known_field, tuple(self.request), on_demand,
        )  # fmt: skip

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Returns the asset of the dataset."""
        folder = Path(context.path)
        service = feature_service(context, self.feature_service)
        query = read_text(folder / self.sql, where(context, "sql"))
        on_demand = read_text(folder / self.on_demand, where(context, "on_demand")) if self.on_demand else None
        asset = station(
            self,
            key=self.table,
            station_name="datasets",
            kinds=("delta",),
            deps=[*tables_in(query), *(view.source for view, _ in service.views)],
            code=code_hash("dataset", query, service, on_demand, self.split, self.label),
            run=lambda work: self.execute(work, service, folder, query, on_demand),
        )
        return dg.Definitions(assets=[asset])

    def execute(self, work: Work, service: FeatureService, folder: Path, query: str, on_demand: str | None) -> Made:
        """Builds the rows as of the step's time, writes them and the manifest."""
        lake, plan = work.seams.lake, self.plan(service, folder)
        bounds = TimeSplit(self.split.validation_months, self.split.test_months).bounds(work.now_utc)
        label_versions, view_versions = (
            pin(work, tables_in(query)),
            pin(work, [view.source for view, _ in service.views]),
        )
        frame, columns = run_query(work, query, label_versions)
        with engine_errors(work.seams.settings.engine, work.asset):
            entity_df = frame.toArrow()

        def read_view(view: FeatureView) -> object:
            return lake.read(view.source, view_versions[view.source])

        rows = build_rows(plan, entity_df, read_view, work.now_utc, bounds)  # type: ignore[arg-type]
        draft = Manifest(
            dataset=self.name,
            feature_service=service.name,
            tables={**label_versions, **view_versions},
            query=query,
            service=service_definition(service),
            entity_key=tuple(self.entity_key),
            timestamp_field=self.timestamp_field,
            label=self.label,
            label_known_field=self.label_known_field,
            request=tuple(self.request),
            on_demand=on_demand,
            cutoff_utc=work.now_utc.isoformat(),
            split=tuple(bound.isoformat() for bound in bounds),  # type: ignore[arg-type]
            columns=(),
            code_version=work.code_version,
            num_rows={},
            row_hash="",
        )
        version = lake.write(self.table, rows, work.commit())
        manifest = replace(finish(draft, rows, self.entity_key), table_version=version)
        file = manifest.save(work.seams.settings.state / "manifests")
        work.lineage.describe(
            "mosaic_manifest",
            manifestId=manifest.id,
            rowHash=manifest.row_hash,
            featureService=manifest.feature_service,
            cutoff=manifest.cutoff_utc,
            rowsBySplit=dict(manifest.num_rows),
            tables=dict(manifest.tables),
        )
        feature_columns = {column: [(view.source, field.name)] for view, fields in service.views for field in fields
                           for column in [f"{view.name}__{field.name}"]}  # fmt: skip
        return Made(
            self.table, version, rows.num_rows, rows.schema, {**columns, **feature_columns}, rows,
            metadata={
                "manifest_id": manifest.id,
                "manifest": dg.MetadataValue.path(str(file)),
                "row_hash": manifest.row_hash,
                "rows_by_split": dict(manifest.num_rows),
                "positive_share": float(sum(rows[self.label].to_pylist()) / max(rows.num_rows, 1)),
            },
        )  # fmt: skip
