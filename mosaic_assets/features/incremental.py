"""Incremental materialization: what has become known since the last one, which the online store itself remembers."""

from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.features.historical import known_by, known_times
from mosaic_assets.features.materialize import layouts, materialize, to_us
from mosaic_assets.features.views import FeatureService, FeatureView
from mosaic_resources.delta.changes import changes
from mosaic_resources.delta.lake import Lake
from mosaic_resources.errors import UserError
from mosaic_resources.online.blob import encode, rows_of
from mosaic_resources.online.contract import OnlineStore
from mosaic_resources.online.keys import encode_keys
from mosaic_resources.online.layout import ABSENT, BlobLayout, FieldLayout, ViewLayout

__all__ = ["materialize_incremental", "news"]

ADDED = pa.array(["insert", "update_postimage"])


def materialize_incremental(
    store: OnlineStore, lake: Lake, service: FeatureService, view: FeatureView, end: datetime
) -> int:
    """Writes the rows of a view that have become known since the last call; a key never goes back in time.

    What was written until when lies in the online store beside the rows, under the layout that they were written in:
    a store that is emptied, or a service that uses other features, begins anew. It is written after the rows, so a
    call that is killed is done again.

    Args:
        store: The online store.
        lake: The lake with the view's table.
        service: The feature service that uses the view.
        view: The view.
        end: Rows known later than this wait for a later call.

    Returns:
        How many keys changed.
    """
    mark, key = _mark(service, view)
    version = lake.open(view.source).version()
    last = rows_of(mark, store.read(mark, [key]))[0]["v0"]
    known_until, seen = int(last["event"]), int(last["values"]["f0"])
    end_us = max(to_us(end), known_until)  # What was written before stays written.
    if (end_us, version) == (known_until, seen):
        return 0
    since = None if known_until == ABSENT else (seen, known_until)
    rows = news(lake, view, version, since) if since else lake.read(view.source, version)
    changed = materialize(store, service, view.name, known_by(view, rows, end_us))
    at, no_null = np.array([end_us]), {"version": np.array([False])}
    store.merge(mark, [key], encode(mark, "_until", at, at, values={"version": np.array([version])}, nulls=no_null))
    return changed


def news(lake: Lake, view: FeatureView, version: int, since: tuple[int, int]) -> pa.Table:
    """Returns the rows of a version that were not there, or not known, at (version, microseconds) ``since``.

    Where the table was replaced or made anew in between, or its changes were vacuumed, these are all rows.
    """
    seen, known_until = since
    rows = lake.read(view.source, version)
    if version < seen:  # The table was made anew.
        return rows
    if version == seen:
        return rows.filter(pa.array(known_times(view, rows)[1] > known_until))
    try:
        changed = changes(lake, view.source, seen + 1, version)
    except UserError:
        return rows
    kinds = changed["_change_type"]
    if pc.any(pc.equal(kinds, "delete")).as_py():
        return rows
    added = changed.filter(pc.is_in(kinds, ADDED)).select(rows.column_names).cast(rows.schema)
    late = rows.filter(pa.array(known_times(view, rows)[1] > known_until))
    return pa.concat_tables([added, late])


def _mark(service: FeatureService, view: FeatureView) -> tuple[BlobLayout, bytes]:
    """Returns layout and key of the row that remembers until what time, and which version of the table, was written."""
    layout = next(one for one in layouts(service) if one.join_keys == view.join_keys)
    mark = BlobLayout(service.name, ("_view", "_layout"), (ViewLayout("_until", (FieldLayout("version", "int64"),)),))
    (key,) = encode_keys([[view.name], [layout.schema_id.hex()]])
    assert key is not None
    return mark, key
