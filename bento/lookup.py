"""Features of a request's entities, from the online store."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from mosaic_resources.bentos.specification import ServiceSpecification
from mosaic_resources.online.blob import Column, decode, rows_of
from mosaic_resources.online.contract import OnlineStore
from mosaic_resources.online.keys import encode_keys
from mosaic_resources.online.layout import BlobLayout

__all__ = ["Group", "groups_of", "look_up", "model_column", "shown_rows"]

Columns = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Group:
    """One read of the store: a layout and the time to live of its views (microseconds)."""

    layout: BlobLayout
    ttl_us: dict[str, int | None]


def groups_of(specification: ServiceSpecification) -> tuple[Group, ...]:
    """Returns the reads that a service makes for each request."""
    return tuple(Group(lookup.layout(specification.feature_service), lookup.ttl_us) for lookup in specification.lookups)


def look_up(store: OnlineStore | None, groups: tuple[Group, ...], request: Columns, at_us: int) -> dict[str, Column]:
    """Returns ``view__feature`` → column for the rows of a request; an unknown entity has missing features.

    Args:
        store: The online store; None where there is nothing to look up.
        groups: The reads.
        request: Request columns, each (rows,).
        at_us: The request's time, microseconds UTC.
    """
    found: dict[str, Column] = {}
    for group in groups:
        assert store is not None
        blobs = store.read(group.layout, encode_keys([_keys(request[key]) for key in group.layout.join_keys]))
        found |= decode(group.layout, rows_of(group.layout, blobs), at_us, group.ttl_us)
    return found


def model_column(column: Column) -> npt.NDArray[Any]:
    """Returns a column as the model's encoding reads it: float64 with NaN, datetime64 with NaT, or object with None."""
    values = column.values
    if values.dtype == object:
        texts = values.copy()
        texts[~column.valid] = None
        return texts
    if values.dtype.kind == "M":
        return np.where(column.valid, values, np.datetime64("NaT", "us"))
    numbers = values.astype(np.float64)
    numbers[~column.valid] = np.nan
    return numbers


def shown_rows(columns: Mapping[str, Column], num_rows: int) -> list[dict[str, Any]]:
    """Returns the looked-up values for the log, row by row; NULL and missing as None, no float rounded."""
    shown = {name: _shown(column) for name, column in columns.items()}
    return [{name: values[i] for name, values in shown.items()} for i in range(num_rows)]


def _keys(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    # A time as key is its microseconds, in materialization too.
    return values.astype(np.int64) if values.dtype.kind == "M" else values


def _shown(column: Column) -> list[Any]:
    values = column.values
    if values.dtype.kind == "M":
        plain = [f"{value}Z" for value in np.datetime_as_string(values, unit="us")]
    elif values.dtype.kind == "f":
        # JSON has no NaN and no infinity; as texts they stay apart from NULL.
        plain = [value if isfinite(value) else str(value) for value in values.tolist()]
    else:
        plain = values.tolist()
    return [value if valid else None for value, valid in zip(plain, column.valid.tolist(), strict=True)]
