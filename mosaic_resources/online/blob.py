"""Encoding, merging and decoding online rows; the layout of the bytes is in ``layout.py``."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mosaic_resources.errors import InternalError, UserError
from mosaic_resources.online.layout import ABSENT, BlobLayout, FieldLayout, Rows

__all__ = ["Column", "decode", "encode", "merge_newest", "rows_of"]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Column(NamedTuple):
    """One decoded feature of some entities.

    Args:
        values: (rows,) int64, float64, bool, datetime64[us] or object (str); any value where not ``valid``.
        valid: (rows,) bool; False for NULL and for missing.
        missing: (rows,) bool; True where no usable row exists: unknown entity, not yet known, or past its TTL.
    """

    values: npt.NDArray[Any]
    valid: Bools
    missing: Bools


def encode(
    layout: BlobLayout,
    view: str,
    event_us: Ints,
    known_us: Ints,
    *,
    values: Mapping[str, npt.NDArray[Any]],
    nulls: Mapping[str, Bools],
) -> Rows:
    """Returns rows that hold one view and leave the others absent.

    Args:
        layout: The group.
        view: The view that the values belong to.
        event_us: (rows,) event time, microseconds UTC.
        known_us: (rows,) known time, microseconds UTC.
        values: Feature → (rows,) int64, float64, bool, or bytes (``S``) for strings; any value where NULL.
        nulls: Feature → (rows,) whether the value is NULL.

    Raises:
        UserError: A row is known before it happened, or a string does not fit its width.
    """
    early = np.flatnonzero(event_us > known_us)
    if early.size:
        raise UserError(
            f"{early.size} rows are known before their event time (first: row {early[0]}).",
            f"view '{view}'",
            "Mend the known time.",
        )
    place = layout.position(view)
    rows = layout.empty(len(event_us))
    segment = rows[f"v{place}"]
    segment["event"], segment["known"] = event_us, known_us
    fields = layout.views[place].fields
    # (rows, features) bool → (rows, bytes) bitmap
    mask = np.stack([nulls[f.name] for f in fields], axis=1) if fields else np.zeros((len(rows), 0), bool)
    segment["nulls"] = np.packbits(mask, axis=1, bitorder="little")
    for i, field in enumerate(fields):
        given = _storable(field, values[field.name], view)
        segment["values"][f"f{i}"] = np.where(mask[:, i], np.zeros(1, given.dtype), given)
    return rows


def merge_newest(layout: BlobLayout, old: Rows, new: Rows) -> Rows:
    """Returns for each entity and view the newer of two rows by (event, known); an equal pair takes the new one.

    Args:
        layout: The group.
        old: (rows,) stored rows.
        new: (rows,) incoming rows of the same entities.
    """
    merged = old.copy()
    for i in range(len(layout.views)):
        was, now = old[f"v{i}"], new[f"v{i}"]
        newer = (now["event"] > was["event"]) | ((now["event"] == was["event"]) & (now["known"] >= was["known"]))
        merged[f"v{i}"][newer] = now[newer]
    return merged


def rows_of(layout: BlobLayout, blobs: Sequence[bytes | None]) -> Rows:
    """Returns stored blobs as rows; None becomes an absent row.

    Raises:
        InternalError: A blob has another layout.
    """
    rows: Rows = np.frombuffer(b"".join([layout.absent if blob is None else blob for blob in blobs]), layout.dtype)
    if len(rows) != len(blobs) or (rows["id"] != int.from_bytes(layout.schema_id, "little")).any():
        raise InternalError(f"An online row of '{layout.service}/{layout.group}' has another layout.")
    return rows


def decode(layout: BlobLayout, rows: Rows, at_us: int | Ints, ttl_us: Mapping[str, int | None]) -> dict[str, Column]:
    """Returns ``view__feature`` → column, as the service may see it at a time.

    A row is missing when it is absent, known only after that time, or older than its view's TTL.

    Args:
        layout: The group.
        rows: (rows,) stored rows.
        at_us: The time asked for, microseconds UTC; one, or one for each row.
        ttl_us: View → time to live in microseconds from the event time; None: for ever.
    """
    columns: dict[str, Column] = {}
    for i, view in enumerate(layout.views):
        segment = rows[f"v{i}"]
        event, ttl = segment["event"], ttl_us.get(view.name)
        usable = (event != ABSENT) & (segment["known"] <= at_us)
        if ttl is not None:
            usable &= event >= np.asarray(at_us) - ttl
        # (rows, features) bool; the bitmap's padding bits at the end stand for no feature
        nulls = np.unpackbits(segment["nulls"], axis=1, bitorder="little").view(np.bool_)
        valid, missing, values = usable[:, None] & ~nulls, ~usable, segment["values"]
        for j, (name, field) in enumerate(zip(layout.columns[i], view.fields, strict=True)):
            columns[name] = Column(_plain(field, values[f"f{j}"]), valid[:, j], missing)
    return columns


def _storable(field: FieldLayout, values: npt.NDArray[Any], view: str) -> npt.NDArray[Any]:
    if field.dtype == "string" and values.dtype.itemsize > field.width:
        longest = int(np.char.str_len(values).max(initial=0))
        if longest > field.width:
            raise UserError(
                f"A text of {longest} bytes does not fit the {field.width} of '{field.name}'.",
                f"view '{view}'",
                "Raise its width.",
            )
    return values.astype(field.stored, copy=False)


def _plain(field: FieldLayout, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if field.dtype == "bool":
        return stored.astype(np.bool_)
    if field.dtype == "timestamp":
        return stored.view("datetime64[us]")
    if field.dtype == "string":
        return np.array([value.decode() for value in stored.tolist()], dtype=object)
    return stored
