"""The Dagster face of datasets."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pyarrow as pa
from pydantic import Field

from mosaic_assets.asset_fields import ExploredFields
from mosaic_assets.catalogue import where
from mosaic_assets.datasets.build import DatasetPlan, build_rows, finish, usable_rows
from mosaic_assets.datasets.declarations import sample_of, splitting_of
from mosaic_assets.datasets.leakage import LEAK_CHECKS, LeakCase, LeakRules, leak_outcomes
from mosaic_assets.datasets.manifest import Manifest
from mosaic_assets.datasets.request_log import newest_requests
from mosaic_assets.datasets.splits import SPLITS, Splitting
from mosaic_assets.datasets.time_splits import TimeSplit
from mosaic_assets.features.component import feature_service
from mosaic_assets.features.definition import service_definition
from mosaic_assets.features.views import FeatureService, FeatureView
from mosaic_assets.orchestration.station import station
from mosaic_assets.tables.query import pin, read_text, run_query, tables_in
from mosaic_assets.value_types import known_type
from mosaic_assets.work import CheckOutcome, Made, Work, code_hash
from mosaic_resources.bentos.on_demand import load_on_demand
from mosaic_resources.engine.session import engine_errors
from mosaic_resources.errors import UnknownNameError

__all__ = ["DatasetComponent", "LeakageFields", "SampleFields", "SplitFields"]


class SplitFields(dg.Model, dg.Resolvable):
    """What is held out: whole months, or shares, or ends of time."""

    train: float | str | None = Field(None, description="Share to train on, or the end of its time.", examples=[0.7])
    validation: float | str | None = Field(None, description="Share to tune on, or its end.", examples=[0.15])
    test: float | str | None = Field(None, description="Share scored once, or its end.", examples=[0.15])
    validation_months: int | None = Field(
        None, ge=0, description="Whole months to tune on; 1 where nothing else is declared.", examples=[1]
    )
    test_months: int | None = Field(None, ge=0, description="Newest whole months, scored once.", examples=[1])

    def months(self) -> TimeSplit | None:
        """Returns the whole months that are declared, or None."""
        declared = {name: value for name in ("validation_months", "test_months")
                    if (value := getattr(self, name)) is not None}  # fmt: skip
        return TimeSplit(**declared) if declared else None


class SampleFields(dg.Model, dg.Resolvable):
    """Which rows are drawn."""

    rows: int | None = Field(None, ge=1, description="How many rows.", examples=[100000])
    share: float | None = Field(None, gt=0, le=1, description="Or which share of them.", examples=[0.1])
    stratify_by: Sequence[str] = Field((), description="Columns whose shares are kept.", examples=[["label"]])


class LeakageFields(dg.Model, dg.Resolvable):
    """Leak monitors: blocking checks of the dataset; a model refuses a dataset that fails one."""

    checks: Sequence[str] = Field(tuple(LEAK_CHECKS), description="The monitors that run.")
    max_feature_auc: float | None = Field(0.98, description="Largest AUC of one feature, for a label of two values.")
    max_feature_information: float | None = Field(
        0.8, description="For other labels: largest share of its entropy that one feature explains."
    )
    max_shared_rows: float = Field(
        0.01, ge=0, le=1, description="Share of held-out rows that may equal rows of an earlier split."
    )
    known_ahead: Sequence[str] = Field(
        (), description="Columns that are known before their time, as a timetable.", examples=[["my_view__next_at"]]
    )
    allow: Sequence[str] = Field((), description="Columns that the monitors pass over.", examples=[["started_at"]])
    inference_table: str | None = Field(
        None, description="Logged requests to compare with.", examples=["predictions/my_service_requests"]
    )
    max_request_distance: float | None = Field(
        0.5, description="Largest distance of a column between training and requests, 0 to 1."
    )
    blocking: bool = Field(True, description="Whether a leak holds the model back, or only warns.")

    def rules(self, place: str) -> LeakRules:
        """Returns what is a leak.

        Raises:
            UnknownNameError: A monitor is unknown.
        """
        for name in self.checks:
            if name not in LEAK_CHECKS:
                raise UnknownNameError("leak monitor", name, LEAK_CHECKS, place)
        return LeakRules(
            tuple(self.checks), self.max_feature_auc, self.max_feature_information, self.max_shared_rows,
            tuple(self.known_ahead), tuple(self.allow), self.max_request_distance,
        )  # fmt: skip


class DatasetComponent(ExploredFields, dg.Component, dg.Resolvable):
    """Labels joined with features as they were known at each row's time, pinned by a manifest."""

    name: str = Field(description="Name of the dataset.", examples=["my_dataset"])
    sql: str = Field(description="SQL file of the entity table: keys, times, label.", examples=["labels.sql"])
    feature_service: str = Field(description="Features, by the service's name.", examples=["my_features"])
    entity_key: Sequence[str] = Field(description="Columns that identify a row.", examples=[["event_id"]])
    timestamp_field: str = Field(description="Time that a row looks from.", examples=["asked_at"])
    label: str = Field(description="Label column.", examples=["label"])
    label_known_field: str = Field(
        description="Column that says when the label became known.", examples=["label_known_ts"]
    )
    request: Mapping[str, str] = Field(
        description="What a request holds: column → string, int64, float64 or timestamp.",
        examples=[{"thing_id": "string", "started_at": "timestamp"}],
    )
    on_demand: str | None = Field(
        None, description="Python file with def features(request).", examples=["on_demand.py"]
    )
    split: SplitFields = Field(SplitFields.model_validate({}), description="What is held out.")
    split_col: str | None = Field(
        None, description="Column of the query that holds train, validation or test.", examples=["part"]
    )
    time_col: str | None = Field(
        None, description="Time to split by; with shares: the newest rows are held out.", examples=["asked_at"]
    )
    stratify_by: Sequence[str] = Field(
        (), description="Columns whose shares are the same in all splits.", examples=[["label"]]
    )
    group_by: Sequence[str] = Field((), description="Columns whose rows stay in one split.", examples=[["thing_id"]])
    seed: int = Field(17, ge=0, description="Decides every draw.")
    n_splits: int = Field(0, ge=0, description="Folds of what is not tested, as column 'fold'; 0: none.")
    sample: SampleFields | None = Field(None, description="Which rows are drawn, before anything is joined.")

    leakage: LeakageFields = Field(LeakageFields.model_validate({}), description="What is a leak.")

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

    def splitting(self, cutoff: datetime, place: str) -> Splitting:
        """Returns how rows are drawn and held out.

        Args:
            cutoff: The time that the dataset is made as of.
            place: ``file:line`` for messages.
        """
        drawn = self.sample
        return splitting_of(
            {name: getattr(self.split, name) for name in SPLITS}, self.split.months(), cutoff,
            split_col=self.split_col, time_col=self.time_col, stratify_by=self.stratify_by, group_by=self.group_by,
            seed=self.seed, n_splits=self.n_splits, where=place,
            sample=sample_of(drawn.rows, drawn.share, drawn.stratify_by, place) if drawn else None,
        )  # fmt: skip

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Returns the asset of the dataset."""
        folder, place = Path(context.path), where(context, "split")
        rules = self.leakage.rules(where(context, "leakage"))
        for name, kind in self.request.items():
            known_type("request field", name, kind, where(context, "request", name))
        held = self.splitting(datetime(2000, 1, 1, tzinfo=UTC), place)  # A contradiction is found before anything runs.
        service = feature_service(context, self.feature_service)
        query = read_text(folder / self.sql, where(context, "sql"))
        on_demand = read_text(folder / self.on_demand, where(context, "on_demand")) if self.on_demand else None
        asset = station(
            self,
            key=self.table,
            station_name="datasets",
            kinds=("delta",),
            deps=[*tables_in(query), *(view.source for view, _ in service.views)],
            code=code_hash("dataset", query, service, on_demand, self.split, held.to_dict(), self.label, self.leakage),
            run=lambda work: self.execute(work, service, folder, query, on_demand, place),
            check_specs=[
                dg.AssetCheckSpec(
                    name,
                    asset=dg.AssetKey(self.table.split("/")),
                    description=LEAK_CHECKS[name],
                    blocking=self.leakage.blocking,
                )
                for name in rules.checks
            ],
        )
        return dg.Definitions(assets=[asset])

    def execute(
        self, work: Work, service: FeatureService, folder: Path, query: str, on_demand: str | None, place: str = ""
    ) -> Made:
        """Builds the rows as of the step's time, writes them and the manifest."""
        lake, plan = work.seams.lake, replace(self.plan(service, folder), place=place)
        label_versions, view_versions = (
            pin(work, tables_in(query)),
            pin(work, [view.source for view, _ in service.views]),
        )
        frame, columns = run_query(work, query, label_versions)
        with engine_errors(work.seams.settings.engine, work.asset):
            entity_df = frame.toArrow()

        def read_view(view: FeatureView) -> pa.Table:
            return lake.read(view.source, view_versions[view.source])

        declared = self.splitting(work.now_utc, work.asset)
        usable = usable_rows(plan, entity_df, work.now_utc, declared)
        splitting = declared.pinned(usable, work.now_utc, plan.timestamp_field)
        rows = build_rows(plan, usable, read_view, splitting)
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
            split=tuple(bound.isoformat() for bound in splitting.bounds),
            splitting=splitting.to_dict(),
            columns=(),
            code_version=work.code_version,
            num_rows={},
            row_hash="",
        )
        case = LeakCase(
            plan, self.request, rows, usable.column_names, read_view, splitting.group_by, columns,
            newest_requests(lake, self.leakage.inference_table),
        )  # fmt: skip
        found = leak_outcomes(case, self.leakage.rules(work.asset))
        failed = tuple(text for outcome in found for text in outcome.problems) if self.leakage.blocking else ()
        version = lake.write(self.table, rows, work.commit())
        manifest = replace(finish(draft, rows, self.entity_key), table_version=version, failed_checks=failed)
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
            checks=[
                CheckOutcome(
                    one.check, not one.problems, " ".join(one.problems) or LEAK_CHECKS[one.check],
                    {"problems": list(one.problems), **one.figures}, self.leakage.blocking,
                )
                for one in found
            ],
        )  # fmt: skip
