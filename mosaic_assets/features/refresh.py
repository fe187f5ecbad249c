"""A refresh of the online store: all views of a feature service, and what it then holds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from mosaic_assets.features.materialize import materialize
from mosaic_assets.features.views import FeatureService, FeatureView, column_name
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


def refresh(store: OnlineStore, service: FeatureService, read_known: Callable[[FeatureView], pa.Table]) -> Refreshed:
    """Writes the newest known row of each key of each online view; a row never goes back in time.

    Args:
        store: The online store.
        service: The feature service.
        read_known: Returns a view's rows that are known by now.
    """
    told: list[dict[str, object]] = []
    fields: list[pa.Field] = []
    columns: dict[str, list[tuple[str, str]]] = {}
    for view, chosen in service.views:
        if not view.online:
            continue
        rows = read_known(view)
        keys = rows.group_by(list(view.join_keys)).aggregate([]).num_rows
        told.append({"view": view.name, "keys": keys, "written": materialize(store, service, view.name, rows)})
        for field in chosen:
            name = column_name(view.name, field.name)
            fields.append(pa.field(name, rows.schema.field(field.name).type))
            columns[name] = [(view.source, field.name)]
    return Refreshed(pa.Table.from_pylist(told), pa.schema(fields), columns)
