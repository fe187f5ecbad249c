"""Building a dataset's rows: entity table, point-in-time join, on-demand features, split."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.datasets.manifest import Manifest
from mosaic_assets.datasets.row_hash import row_hash
from mosaic_assets.datasets.splits import SPLITS, split_by_time
from mosaic_assets.features.definition import service_of
from mosaic_assets.features.historical import microseconds
from mosaic_assets.features.join import join_features
from mosaic_assets.features.views import FeatureService, FeatureView
from mosaic_resources.bentos.on_demand import OnDemandFunction, load_on_demand
from mosaic_resources.delta.lake import Lake
from mosaic_resources.errors import UnknownNameError, UserError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["DatasetPlan", "build_rows", "finish", "plan_of", "rebuild"]


@dataclass(frozen=True)
class DatasetPlan:
    """What a dataset is made of.

    Args:
        name: Name of the dataset.
        service: Features.
        entity_key: Columns that identify a row of the entity table.
        timestamp_field: Time that a row looks from.
        label: Label column.
        label_known_field: When the label became known.
        request: Columns that a request holds; the on-demand function sees them and the looked-up features.
        on_demand: The on-demand function, if any.
    """

    name: str
    service: FeatureService
    entity_key: tuple[str, ...]
    timestamp_field: str
    label: str
    label_known_field: str
    request: tuple[str, ...]
    on_demand: OnDemandFunction | None = None


def build_rows(
    plan: DatasetPlan,
    entity_df: pa.Table,
    read_view: Callable[[FeatureView], pa.Table],
    cutoff: datetime,
    bounds: Sequence[datetime],
) -> pa.Table:
    """Returns the dataset's rows: entity columns, features, on-demand features, label, ``split``.

    Rows asked at or after the last bound, without a label, or whose label was not known at the cutoff are left out.

    Args:
        plan: What the dataset is made of.
        entity_df: Rows of the label query.
        read_view: Returns a view's rows at the pinned version.
        cutoff: The time that the dataset is made as of.
        bounds: Ends of train, validation and test.

    Raises:
        UserError: The entity table lacks a column, has a duplicate key, or a split is empty.
    """
    usable = _known_labels(plan, entity_df, cutoff, bounds[-1])
    joined = join_features(
        usable,
        plan.service,
        read_view,
        timestamp_field=plan.timestamp_field,
        request=plan.request,
        on_demand=plan.on_demand,
    )
    at = microseconds(joined[plan.timestamp_field], plan.timestamp_field)
    return joined.append_column("split", pa.array(split_by_time(at, bounds, plan.name), pa.string()))


def rebuild(manifest: Manifest, session: "SparkSession", lake: Lake) -> pa.Table:
    """Returns the rows that the manifest names, made again from it and its pinned versions alone.

    Raises:
        UserError: The rows differ from the manifest's hash, or a version is gone.
    """
    from mosaic_assets.tables.transforms import run_sql

    plan = plan_of(manifest)
    labels = {table: version for table, version in manifest.tables.items() if not table.startswith("features/")}
    entity_df = run_sql(session, lake, manifest.query, labels).toArrow()
    bounds = [datetime.fromisoformat(text) for text in manifest.split]
    cutoff = datetime.fromisoformat(manifest.cutoff_utc)
    rows = build_rows(
        plan, entity_df, lambda view: lake.read(view.source, manifest.tables[view.source]), cutoff, bounds
    )
    rows = rows.select(manifest.columns)
    found = row_hash(rows, plan.entity_key)
    if found != manifest.row_hash:
        raise UserError(
            f"The rebuilt rows hash to {found[:12]}, the manifest says {manifest.row_hash[:12]}.", manifest.dataset
        )
    return rows


def plan_of(manifest: Manifest) -> DatasetPlan:
    """Returns what the manifest's dataset was made of, the on-demand function included."""
    on_demand = None
    if manifest.on_demand is not None:
        with tempfile.TemporaryDirectory(prefix="mosaic-rebuild-") as scratch:
            file = Path(scratch) / "on_demand.py"
            file.write_text(manifest.on_demand)
            on_demand = load_on_demand(file)
    return DatasetPlan(
        manifest.dataset,
        service_of(manifest.service),
        manifest.entity_key,
        manifest.timestamp_field,
        manifest.label,
        manifest.label_known_field,
        manifest.request,
        on_demand,
    )


def finish(manifest: Manifest, rows: pa.Table, entity_key: Sequence[str]) -> Manifest:
    """Returns the manifest with what the rows themselves say: columns, counts, hash."""
    counts = {name: int(pc.sum(pc.equal(rows["split"], name)).as_py() or 0) for name in SPLITS}
    return replace(manifest, columns=tuple(rows.column_names), num_rows=counts, row_hash=row_hash(rows, entity_key))


def _known_labels(plan: DatasetPlan, entity_df: pa.Table, cutoff: datetime, end: datetime) -> pa.Table:
    for name in (*plan.entity_key, *plan.request, plan.timestamp_field, plan.label, plan.label_known_field):
        if name not in entity_df.column_names:
            raise UnknownNameError("column", name, entity_df.column_names, plan.name)
    known = pc.less_equal(entity_df[plan.label_known_field], pa.scalar(cutoff, pa.timestamp("us", tz="UTC")))
    before = pc.less(entity_df[plan.timestamp_field], pa.scalar(end, pa.timestamp("us", tz="UTC")))
    labelled = entity_df[plan.label].is_valid()
    rows = entity_df.filter(pc.fill_null(pc.and_(pc.and_(known, before), labelled), False))
    doubled = rows.num_rows - rows.group_by(list(plan.entity_key)).aggregate([]).num_rows
    if doubled:
        raise UserError(f"{doubled} rows share {', '.join(plan.entity_key)} with another row.", plan.name)
    return rows
