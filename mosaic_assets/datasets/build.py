"""Building a dataset's rows: entity table, sample, point-in-time join, on-demand features, split, folds."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.datasets.empty_split import nothing_usable
from mosaic_assets.datasets.manifest import Manifest
from mosaic_assets.datasets.row_hash import row_hash
from mosaic_assets.datasets.splits import (
    FOLD_COLUMN,
    SPLIT_COLUMN,
    SPLITS,
    Splitting,
    fold_column,
    sampled,
    split_column,
)
from mosaic_assets.features.definition import service_of
from mosaic_assets.features.historical import microseconds
from mosaic_assets.features.join import join_features
from mosaic_assets.features.views import FeatureService, FeatureView
from mosaic_resources.bentos.on_demand import OnDemandFunction, load_on_demand
from mosaic_resources.delta.lake import Lake
from mosaic_resources.errors import UnknownNameError, UserError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["DatasetPlan", "build_rows", "finish", "plan_of", "rebuild", "usable_rows"]


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
        place: ``file:line`` of its split, for messages; empty: the name is the place.
    """

    name: str
    service: FeatureService
    entity_key: tuple[str, ...]
    timestamp_field: str
    label: str
    label_known_field: str
    request: tuple[str, ...]
    on_demand: OnDemandFunction | None = None
    place: str = ""

    @property
    def where(self) -> str:
        """The place and the name, for messages."""
        return f"{self.place}, {self.name}" if self.place else self.name


def usable_rows(plan: DatasetPlan, entity_df: pa.Table, cutoff: datetime, splitting: Splitting) -> pa.Table:
    """Returns the rows of the entity table that a dataset is made of: labelled, known, inside the split's time, drawn.

    Args:
        plan: What the dataset is made of.
        entity_df: Rows of the label query.
        cutoff: The time that the dataset is made as of.
        splitting: How rows are drawn and held out.

    Raises:
        UserError: The entity table lacks a column, has one that the dataset makes, or has a duplicate key; or none of
            its rows can be used.
    """
    for name in splitting.columns:
        if name not in entity_df.column_names:
            raise UnknownNameError("column", name, entity_df.column_names, plan.name)
    for name in (SPLIT_COLUMN, FOLD_COLUMN):
        if name in entity_df.column_names and name != splitting.split_col:
            raise UserError(f"The entity table has a column '{name}'.", plan.name, "The dataset makes one: rename it.")
    rows = _known_labels(plan, entity_df, cutoff)
    time_col, end = splitting.time_col or plan.timestamp_field, splitting.bounds[-1] if splitting.bounds else cutoff
    inside = pc.less(rows[time_col], pa.scalar(end, pa.timestamp("us", tz="UTC")))
    usable = rows.filter(pc.fill_null(inside, False))
    if entity_df.num_rows and not usable.num_rows:
        at = microseconds(entity_df[time_col].drop_null(), time_col)
        raise nothing_usable(entity_df.num_rows, at, time_col, cutoff, plan.where)
    return sampled(usable, plan.entity_key, splitting)


def build_rows(
    plan: DatasetPlan, usable: pa.Table, read_view: Callable[[FeatureView], pa.Table], splitting: Splitting
) -> pa.Table:
    """Returns the dataset's rows: entity columns, features, on-demand features, ``split`` and, if any, ``fold``.

    Args:
        plan: What the dataset is made of.
        usable: Rows of ``usable_rows``.
        read_view: Returns a view's rows at the pinned version.
        splitting: How rows are held out, pinned to these rows.

    Raises:
        UserError: A split or a fold is empty.
    """
    joined = join_features(
        usable,
        plan.service,
        read_view,
        timestamp_field=plan.timestamp_field,
        request=plan.request,
        on_demand=plan.on_demand,
    )
    where = (plan.entity_key, plan.timestamp_field, splitting, plan.where)
    named = split_column(joined, *where)
    if splitting.split_col in (SPLIT_COLUMN, FOLD_COLUMN):
        joined = joined.drop_columns(splitting.split_col)
    rows = joined.append_column(SPLIT_COLUMN, named)
    return rows.append_column(FOLD_COLUMN, fold_column(rows, *where)) if splitting.n_splits else rows


def rebuild(manifest: Manifest, session: "SparkSession", lake: Lake) -> pa.Table:
    """Returns the rows that the manifest names, made again from it and its pinned versions alone.

    Raises:
        UserError: The rows differ from the manifest's hash, or a version is gone.
    """
    from mosaic_assets.tables.transforms import run_sql

    plan = plan_of(manifest)
    labels = {table: version for table, version in manifest.tables.items() if not table.startswith("features/")}
    entity_df = run_sql(session, lake, manifest.query, labels).toArrow()
    splitting = Splitting.of(manifest.splitting, manifest.split)
    usable = usable_rows(plan, entity_df, datetime.fromisoformat(manifest.cutoff_utc), splitting)
    rows = build_rows(plan, usable, lambda view: lake.read(view.source, manifest.tables[view.source]), splitting)
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
    counts = {name: int(pc.sum(pc.equal(rows[SPLIT_COLUMN], name)).as_py() or 0) for name in SPLITS}
    return replace(manifest, columns=tuple(rows.column_names), num_rows=counts, row_hash=row_hash(rows, entity_key))


def _known_labels(plan: DatasetPlan, entity_df: pa.Table, cutoff: datetime) -> pa.Table:
    for name in (*plan.entity_key, *plan.request, plan.timestamp_field, plan.label, plan.label_known_field):
        if name not in entity_df.column_names:
            raise UnknownNameError("column", name, entity_df.column_names, plan.name)
    known = pc.less_equal(entity_df[plan.label_known_field], pa.scalar(cutoff, pa.timestamp("us", tz="UTC")))
    before = pc.less(entity_df[plan.timestamp_field], pa.scalar(cutoff, pa.timestamp("us", tz="UTC")))
    labelled = entity_df[plan.label].is_valid()
    rows = entity_df.filter(pc.fill_null(pc.and_(pc.and_(known, before), labelled), False))
    doubled = rows.num_rows - rows.group_by(list(plan.entity_key)).aggregate([]).num_rows
    if doubled:
        raise UserError(f"{doubled} rows share {', '.join(plan.entity_key)} with another row.", plan.name)
    return rows
