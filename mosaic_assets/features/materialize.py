"""The way online: rows of a view to the online store, and back again for the keys of a request."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.features.historical import known_times
from mosaic_assets.features.views import FeatureService, FeatureView, Field
from mosaic_assets.value_types import FEATURE_TYPES
from mosaic_resources.errors import UnknownNameError, UserError
from mosaic_resources.online.blob import Column, decode, encode, rows_of
from mosaic_resources.online.contract import OnlineStore
from mosaic_resources.online.keys import encode_keys
from mosaic_resources.online.layout import BlobLayout, FieldLayout, ViewLayout

__all__ = ["get_online_features", "key_codes", "layouts", "materialize", "push", "to_us", "ttl_us"]

# Entities for each transaction: enough to be quick, few enough that the pages of one fit in memory.
KEYS_PER_WRITE = 200_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Ints = npt.NDArray[np.int64]


def layouts(service: FeatureService) -> tuple[BlobLayout, ...]:
    """Returns the blobs of a feature service: one for each group of views with equal join keys, in order.

    Raises:
        UserError: A view of the service is not online.
    """
    groups: dict[tuple[str, ...], list[ViewLayout]] = {}
    for view, fields in service.views:
        if not view.online:
            raise UserError(
                f"FeatureView '{view.name}' is not online.",
                f"FeatureService '{service.name}'",
                "Set online: true, or leave it out.",
            )
        stored = tuple(FieldLayout(field.name, field.dtype, field.width) for field in fields)
        groups.setdefault(view.join_keys, []).append(ViewLayout(view.name, stored))
    return tuple(BlobLayout(service.name, keys, tuple(views)) for keys, views in groups.items())


def ttl_us(service: FeatureService) -> dict[str, int | None]:
    """Returns view → time to live in microseconds; None: for ever."""
    return {
        view.name: None if view.ttl is None else int(view.ttl.total_seconds() * 1_000_000) for view, _ in service.views
    }


def materialize(store: OnlineStore, service: FeatureService, view_name: str, rows: pa.Table) -> int:
    """Writes the newest row of each key to the online store; a key never goes back in time.

    All rows or only the new ones, in any order, once or again: the store ends up the same.

    Args:
        store: The online store.
        service: The feature service that uses the view.
        view_name: The view.
        rows: The view's columns (join keys, event time, known time, features). Rows with a NULL key are left out.

    Returns:
        How many keys changed.

    Raises:
        UnknownNameError: The service does not use the view, or a column is missing.
        UserError: A row is known before its event time, a text is too long, or a column has another type.
    """
    view, fields = _used(service, view_name)
    layout = next(layout for layout in layouts(service) if layout.join_keys == view.join_keys)
    _check_columns(view, fields, rows)
    if rows.num_rows == 0:
        return 0
    event, known = known_times(view, rows)
    newest = _newest(key_codes([rows[key] for key in view.join_keys]), event, known)
    chosen, event, known = rows.take(pa.array(newest)), event[newest], known[newest]
    values = {field.name: _stored_values(field, chosen[field.name], view.name) for field in fields}
    nulls = {field.name: np.asarray(pc.is_null(chosen[field.name])) for field in fields}
    encoded = encode(layout, view.name, event, known, values=values, nulls=nulls)
    keys = encode_keys([_key_values(chosen[key]) for key in view.join_keys])
    num_changed = 0
    for begin in range(0, len(keys), KEYS_PER_WRITE):
        part = slice(begin, begin + KEYS_PER_WRITE)
        num_changed += store.merge(layout, [key for key in keys[part] if key is not None], encoded[part])
    return num_changed


def push(store: OnlineStore, services: Iterable[FeatureService], view_name: str, rows: pa.Table) -> int:
    """Writes rows that have just become known to every service that uses the view; returns the keys changed."""
    users = [service for service in services if view_name in {view.name for view, _ in service.views}]
    return sum(materialize(store, service, view_name, rows) for service in users)


def get_online_features(
    store: OnlineStore, service: FeatureService, entity_rows: pa.Table, at: datetime | Ints
) -> pa.Table:
    """Returns the rows with one ``view__feature`` column for each feature, as an endpoint would look them up.

    Args:
        store: The online store.
        service: The features.
        entity_rows: Rows with the join keys.
        at: The time asked for: one (aware), or (rows,) microseconds UTC.

    Returns:
        ``entity_rows`` and the features; NULL where the value is NULL or the feature missing (unknown entity,
        not known yet, past its TTL).
    """
    at_us = to_us(at) if isinstance(at, datetime) else at
    columns: dict[str, Column] = {}
    for layout in layouts(service):
        keys = encode_keys([_key_values(entity_rows[key]) for key in layout.join_keys])
        columns |= decode(layout, rows_of(layout, store.read(layout, keys)), at_us, ttl_us(service))
    joined = entity_rows
    for view, fields in service.views:
        for field in fields:
            name = f"{view.name}__{field.name}"
            joined = joined.append_column(name, _arrow(field, columns[name]))
    return joined


def to_us(at: datetime) -> int:
    """Returns an aware time as microseconds UTC."""
    return (at - EPOCH) // datetime.resolution


def _used(service: FeatureService, view_name: str) -> tuple[FeatureView, tuple[Field, ...]]:
    for view, fields in service.views:
        if view.name == view_name:
            return view, fields
    raise UnknownNameError(
        "FeatureView", view_name, [view.name for view, _ in service.views], f"FeatureService '{service.name}'"
    )


def _check_columns(view: FeatureView, fields: tuple[Field, ...], rows: pa.Table) -> None:
    for name in (*view.join_keys, *(field.name for field in fields), view.timestamp_field):
        if name not in rows.column_names:
            raise UnknownNameError("column", name, rows.column_names, f"view '{view.name}'")


def key_codes(keys: list[pa.ChunkedArray]) -> Ints:
    """Returns (rows,) one code for each combination of key values, -1 where a part is NULL."""
    code: Ints = np.zeros(len(keys[0]), np.int64)
    for column in keys:
        encoded = pc.dictionary_encode(column.combine_chunks())
        part = np.asarray(pc.fill_null(encoded.indices, -1), np.int64)
        code = np.where((code >= 0) & (part >= 0), code * len(encoded.dictionary) + part, -1)
        # Dense after each key, so that any number of keys fits an int64; NULL stays -1.
        kept = code >= 0
        code[kept] = np.unique(code[kept], return_inverse=True)[1]
    return code


def _newest(code: Ints, event: Ints, known: Ints) -> Ints:
    """Returns the position of each key's newest row by (event, known); of equal ones the last."""
    order = np.lexsort((known, event, code))
    sorted_code = code[order]
    is_last = np.append(sorted_code[1:] != sorted_code[:-1], True)
    newest: Ints = order[is_last & (sorted_code >= 0)]
    return newest


def _stored_values(field: Field, column: pa.ChunkedArray, view: str) -> npt.NDArray[Any]:
    try:
        cast = pc.cast(column.combine_chunks(), FEATURE_TYPES[field.dtype])
    except pa.ArrowInvalid as exc:
        raise UserError(
            f"Feature '{field.name}' is {column.type}, not {field.dtype}: {exc}.",
            f"view '{view}'",
            "Cast it in the view.",
        ) from exc
    if field.dtype == "string":
        texts = [b"" if text is None else text.encode() for text in cast.to_pylist()]
        if any(text.endswith(b"\0") for text in texts):
            raise UserError(f"A text of '{field.name}' ends with NUL, which padding would lose.", f"view '{view}'")
        return np.array(texts, dtype="S" if texts else "S1")
    if field.dtype == "timestamp":
        cast = pc.cast(cast, pa.int64())
    return np.asarray(cast.fill_null(False if field.dtype == "bool" else 0).to_numpy(zero_copy_only=False))


def _key_values(column: pa.ChunkedArray) -> list[Any]:
    # A time as key is its microseconds, as in a request.
    if pa.types.is_timestamp(column.type):
        column = pc.cast(pc.cast(column, pa.timestamp("us", tz=column.type.tz)), pa.int64())
    return column.to_pylist()  # type: ignore[no-any-return]


def _arrow(field: Field, column: Column) -> pa.Array:
    kind = FEATURE_TYPES[field.dtype]
    values = column.values.tolist() if field.dtype == "string" else column.values
    # A mask, not from_pandas: a NaN stays a NaN.
    return pa.array(
        values, mask=~column.valid, type=pa.timestamp("us") if field.dtype == "timestamp" else kind, from_pandas=False
    ).cast(kind)
