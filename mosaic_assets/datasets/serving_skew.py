"""Where a request would give a model something else than training did."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.datasets.build import DatasetPlan
from mosaic_assets.exploration.distance import distribution_distance
from mosaic_assets.features.model_columns import model_columns
from mosaic_assets.features.views import FeatureService, column_name
from mosaic_resources.bentos.on_demand import OnDemandError, computed_features
from mosaic_resources.bentos.specification import ASKED_AT

__all__ = ["batch_dependent", "not_online", "request_distance", "wrong_types"]

NUM_ONE_BY_ONE = 16
RELATIVE = 1e-9  # vectorized transcendental functions differ in the last bits between one row and many


def not_online(service: FeatureService, allow: Collection[str]) -> Iterator[str]:
    """Yields a sentence for each view whose features are not kept in the online store."""
    for view, fields in service.views:
        offline = [name for field in fields if (name := column_name(view.name, field.name)) not in allow]
        if not view.online and offline:
            yield f"View '{view.name}' has 'online: false': no request can look up {', '.join(offline)}."


def wrong_types(schema: pa.Schema, request: Mapping[str, str]) -> Iterator[str]:
    """Yields a sentence for each request column that training knows as another type.

    Args:
        schema: Of the dataset.
        request: Column → string, int64, float64 or timestamp.
    """
    fits = {
        "string": lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind),
        "int64": pa.types.is_integer,
        "float64": lambda kind: pa.types.is_floating(kind) or pa.types.is_integer(kind),
        "timestamp": pa.types.is_timestamp,
    }
    for name, declared in request.items():
        kind = schema.field(name).type
        if declared in fits and not fits[declared](kind):
            yield f"A request holds '{name}' as {declared}, training as {kind}: cast it in the query."


def batch_dependent(plan: DatasetPlan, rows: pa.Table, computed: Sequence[str], order: Sequence[int]) -> Iterator[str]:
    """Yields a sentence for each on-demand feature that is another one when a row comes alone, as a request does.

    Args:
        plan: What the dataset is made of.
        rows: The dataset's rows.
        computed: Features that the on-demand function made.
        order: Numbers of rows to try, most wanted first.
    """
    if plan.on_demand is None:
        return
    wrong: dict[str, int] = {}
    tried = list(order)[:NUM_ONE_BY_ONE]
    for number in tried:
        row = rows.slice(number, 1)
        asked = {ASKED_AT: row[plan.timestamp_field]}
        asked |= {name: row[name] for name in (*plan.request, *plan.service.columns)}
        try:
            alone = computed_features(plan.on_demand, model_columns(asked), 1)
        except OnDemandError as exc:
            yield f"The on-demand function fails on one row alone: {exc}"
            return
        for name in computed:
            again = pa.array(alone[name], from_pandas=True)[0].as_py() if name in alone else None
            wrong[name] = wrong.get(name, 0) + (not _same(again, row[name][0].as_py()))
    for name, count in wrong.items():
        if count:
            yield (
                f"'{name}' differs in {count} of {len(tried)} rows when the on-demand function sees one row at a time: "
                "it may not look at other rows, nor at the clock."
            )


def request_distance(training: pa.ChunkedArray, logged: Sequence[Any]) -> float | None:
    """Returns how far a column of logged requests is from training, 0 to 1; None for a time, which always moves on.

    Args:
        training: The column's values in training.
        logged: Its values in requests, as JSON gives them.
    """
    if pa.types.is_temporal(training.type):
        return None
    if pa.types.is_string(training.type) or pa.types.is_large_string(training.type):
        texts = [None if value is None else str(value) for value in logged]
        return distribution_distance(training, pa.chunked_array([pa.array(texts, training.type)]))
    numbers = pa.array([None if value is None else float(value) for value in logged], pa.float64())
    return distribution_distance(pc.cast(training, pa.float64(), safe=False), pa.chunked_array([numbers]))


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return (math.isnan(left) and math.isnan(right)) or math.isclose(left, right, rel_tol=RELATIVE, abs_tol=0.0)
    if isinstance(left, datetime) and isinstance(right, datetime):
        return left.replace(tzinfo=None) == right.replace(tzinfo=None)
    return bool(left == right)
