"""A refresh of the online store: all views of a feature service, and what it then holds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from mosaic_assets.features.incremental import materialize_incremental
from mosaic_assets.features.views import FeatureService, FeatureView, column_name
from mosaic_assets.value_types import FEATURE_TYPES
from mosaic_resources.delta.lake import Lake
from mosaic_resources.online.contract import OnlineStore

__all__ = ["Refreshed", "refresh"]


@dataclass(frozen=True)
class Refreshed:
    """What a refresh found.

    Args:
        views: One row for each view: ``view``, ``keys`` that it has rows for, ``written`` keys that changed.
        schema: The looked-up columns.
        columns: Looked-up column → (table, column) that it comes from.
    """

    views: pa.Table
    schema: pa.Schema
    columns: Mapping[str, list[tuple[str, str]]]


def refresh(
    store: OnlineStore, lake: Lake, service: FeatureService, end: datetime, read_keys: Callable[[FeatureView], pa.Table]
) -> Refreshed:
    """Writes what has become known of each online view since the last refresh; a row never goes back in time.

    Args:
        store: The online store.
        lake: The lake with the views' tables.
        service: The feature service.
        end: Rows that are known later wait.
        read_keys: Returns the join keys of a view's rows that are known by ``end``.
    """
    told: list[dict[str, object]] = []
    fields: list[pa.Field] = []
    columns: dict[str, list[tuple[str, str]]] = {}
    for view, chosen in service.views:
        if not view.online:
            continue
        keys = read_keys(view).group_by(list(view.join_keys)).aggregate([]).num_rows
        written = materialize_incremental(store, lake, service, view, end)
        told.append({"view": view.name, "keys": keys, "written": written})
        for field in chosen:
            name = column_name(view.name, field.name)
            fields.append(pa.field(name, FEATURE_TYPES[field.dtype]))
            columns[name] = [(view.source, field.name)]
    return Refreshed(pa.Table.from_pylist(told), pa.schema(fields), columns)
