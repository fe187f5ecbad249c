"""Columns into whylogs' metrics, in bulk.

whylogs' own path goes through pandas and walks values one by one. Here its metrics are fed numbers as arrays and texts
as (text, count) pairs: the same figures in about a seventh of the time, and infinities do not spoil the moments.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.monitors.columns import numbers_of, texts_of

__all__ = ["column_view"]


def column_view(lib: Any, values: pa.ChunkedArray) -> Any:
    """Returns whylogs' view of one column.

    Args:
        lib: whylogs' classes, see ``profiles.library``.
        values: (rows,) of any type; what is neither number, text nor boolean is only counted.
    """
    numbers = numbers_of(values)
    if numbers is not None:
        metrics = _number_metrics(lib, numbers, pa.types.is_integer(values.type), values.null_count)
    else:
        metrics = _text_metrics(lib, values)
    return lib.column_view(metrics={metric.namespace: metric for metric in metrics}, success_count=len(values))


def _number_metrics(lib: Any, numbers: npt.NDArray[np.float64], whole: bool, num_nulls: int) -> list[Any]:
    nan, infinite = np.isnan(numbers), np.isinf(numbers)
    finite = numbers[~(nan | infinite)]
    num_nan, num_values = int(nan.sum()), int((~nan).sum())
    kinds = _types(lib, integral=num_values) if whole else _types(lib, fractional=num_values)
    counts = _counts(lib, n=len(numbers) + num_nulls, null=num_nulls + num_nan, nan=num_nan, inf=int(infinite.sum()))
    shape, distinct = lib.distribution.zero(lib.config), lib.cardinality.zero(lib.config)
    if len(finite):
        shape.kll.value.update(finite)
        shape.mean.set(float(finite.mean()))
        shape.m2.set(float(finite.var() * len(finite)))
    distinct.hll.value.update_np(numbers[~nan])
    if not whole:
        return [counts, kinds, shape, distinct]
    bounds = lib.ints.zero(lib.config)
    if len(finite):
        bounds.max.set(int(finite.max()))
        bounds.min.set(int(finite.min()))
    return [counts, kinds, shape, distinct, bounds]


def _text_metrics(lib: Any, values: pa.ChunkedArray) -> list[Any]:
    counted = texts_of(values)
    num_values = len(values) - values.null_count
    if counted is None:  # Times, lists, structs: whylogs counts them as objects.
        return [_counts(lib, n=len(values), null=values.null_count), _types(lib, object=num_values)]
    shape, distinct, frequent = (kind.zero(lib.config) for kind in (lib.distribution, lib.cardinality, lib.frequent))
    distinct.hll.value.update_str_list(list(counted))
    for text, count in counted.items():
        frequent.frequent_strings.value.update(text[: lib.config.max_frequent_item_size], count)
    boolean = pa.types.is_boolean(values.type)
    num_true = int(pc.sum(values).as_py() or 0) if boolean else 0
    counts = _counts(lib, n=len(values), null=values.null_count, true=num_true)
    return [counts, _types(lib, **{"boolean" if boolean else "string": num_values}), shape, distinct, frequent]


def _counts(lib: Any, *, n: int, null: int, nan: int = 0, inf: int = 0, true: int = 0) -> Any:
    named = {"n": n, "null": null, "nan": nan, "inf": inf, "true": true}
    return lib.counts(**{name: lib.integral(value) for name, value in named.items()})


def _types(lib: Any, **seen: int) -> Any:
    kinds = ("integral", "fractional", "boolean", "string", "object", "tensor")
    return lib.types(**{kind: lib.integral(seen.get(kind, 0)) for kind in kinds})
