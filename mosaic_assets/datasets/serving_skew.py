"""Where a request would give a model something else than training did."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.datasets.build import DatasetPlan
from mosaic_assets.features.model_columns import model_columns
from mosaic_assets.features.views import FeatureService, column_name
from mosaic_resources.bentos.on_demand import OnDemandError, computed_features
from mosaic_resources.bentos.specification import ASKED_AT

__all__ = ["batch_dependent", "not_online", "request_distance", "wrong_types"]

NUM_ONE_BY_ONE = 16
RELATIVE = 1e-9  # vectorized transcendental functions differ in the last bits between one row and many
NUM_BINS = 10
MAX_CATEGORIES = 50


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
    """Returns the total variation distance between a column in training and in logged requests, 0 to 1; None for times.

    Numbers are binned at tenths of the training rows, of texts the most frequent stand alone; missing is a value.

    Args:
        training: The column's values in training.
        logged: Its values in requests, as JSON gives them.

    Example:
        >>> request_distance(pa.chunked_array([["a", "b"]]), ["a", "a"])
        0.5
    """
    if pa.types.is_temporal(training.type):
        return None
    if pa.types.is_string(training.type) or pa.types.is_large_string(training.type):
        counts = sorted(pc.value_counts(training.drop_null()).to_pylist(), key=lambda one: -one["counts"])
        known = [one["values"] for one in counts[:MAX_CATEGORIES]]
        codes = [np.asarray(pc.fill_null(pc.index_in(values, value_set=pa.array(known, pa.string())), len(known)))
                 + pc.is_null(values).to_numpy(zero_copy_only=False).astype(int)
                 for values in (training.combine_chunks(), pa.array(map(_text, logged), pa.string()))]  # fmt: skip
        size = len(known) + 2
    else:
        numbers = [np.asarray(pc.cast(training, pa.float64(), safe=False).fill_null(math.nan)),
                   np.array([math.nan if value is None else float(value) for value in logged])]  # fmt: skip
        finite = numbers[0][np.isfinite(numbers[0])]
        edges = np.unique(np.quantile(finite, np.linspace(0, 1, NUM_BINS + 1)[1:-1])) if len(finite) else np.zeros(0)
        size = len(edges) + 2
        codes = [np.where(np.isnan(one), size - 1, np.searchsorted(edges, one, side="right")) for one in numbers]
    left, right = (np.bincount(one, minlength=size) / max(len(one), 1) for one in codes)
    return float(np.abs(left - right).sum() / 2)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return (math.isnan(left) and math.isnan(right)) or math.isclose(left, right, rel_tol=RELATIVE, abs_tol=0.0)
    if isinstance(left, datetime) and isinstance(right, datetime):
        return left.replace(tzinfo=None) == right.replace(tzinfo=None)
    return bool(left == right)
