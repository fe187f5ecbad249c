"""The types of values and what each is called in table columns, feature views and requests: the one list of them."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from mosaic_resources.errors import UserError

__all__ = ["FEATURE_TYPES", "REQUEST_TYPES", "TABLE_TYPES", "VALUE_TYPES", "Place", "ValueType", "known_type"]

Place = Literal["column", "feature", "request field"]


@dataclass(frozen=True)
class ValueType:
    """One type of value.

    Args:
        arrow: What it is in the lake.
        column: Its name among the ``columns`` of a source; None: not declared there.
        feature: Its name in the ``schema`` of a feature view.
        request: Its name in the ``request`` of a dataset.
        also: What other tools call it; a message that refuses such a name points to ours.
    """

    arrow: pa.DataType
    column: str | None
    feature: str | None
    request: str | None
    also: tuple[str, ...] = ()


VALUE_TYPES = (
    ValueType(pa.string(), "string", "string", "string", ("str", "text", "varchar", "object")),
    ValueType(pa.int32(), "int", None, None, ("int32", "integer")),
    ValueType(pa.int64(), "bigint", "int64", "int64", ("long", "integer", "int", "int32")),
    ValueType(pa.float64(), "double", "float64", "float64", ("float", "float32", "number", "decimal", "real")),
    ValueType(pa.bool_(), "boolean", "bool", None),
    ValueType(pa.date32(), "date", None, None),
    ValueType(pa.timestamp("us", tz="UTC"), "timestamp", "timestamp", "timestamp", ("datetime", "timestamptz")),
    ValueType(pa.binary(), "binary", None, None, ("bytes", "blob", "bytea")),
)
TABLE_TYPES: Mapping[str, pa.DataType] = {one.column: one.arrow for one in VALUE_TYPES if one.column}
FEATURE_TYPES: Mapping[str, pa.DataType] = {one.feature: one.arrow for one in VALUE_TYPES if one.feature}
REQUEST_TYPES: Mapping[str, pa.DataType] = {one.request: one.arrow for one in VALUE_TYPES if one.request}
KNOWN: Mapping[Place, Mapping[str, pa.DataType]] = {
    "column": TABLE_TYPES, "feature": FEATURE_TYPES, "request field": REQUEST_TYPES,
}  # fmt: skip


def known_type(place: Place, name: str, text: str, where: str) -> pa.DataType:
    """Returns the Arrow type that a declared type means.

    Args:
        place: Where it is declared.
        name: Name of the column, feature or field.
        text: The type as written.
        where: ``file:line`` for the message.

    Raises:
        UserError: The type is none of those of this place; the message lists them and the nearest.

    Example:
        >>> known_type("request field", "rooms", "int64", "defs.yaml:7")
        DataType(int64)
    """
    known = KNOWN[place]
    if text in known:
        return known[text]
    near = _same_elsewhere(place, text) or next(iter(difflib.get_close_matches(text, known, n=1)), None)
    hint = f"Did you mean '{near}'? " if near else ""
    raise UserError(
        f"The {place} '{name}' has the type '{text}', which a {place} cannot have.", where,
        f"{hint}Known: {', '.join(known)}.",
    )  # fmt: skip


def _same_elsewhere(place: Place, text: str) -> str | None:
    """Returns what this place calls a type that the other places, or other tools, call ``text``."""
    plain = text.strip().lower()
    for one in VALUE_TYPES:
        here = {"column": one.column, "feature": one.feature, "request field": one.request}[place]
        if here and plain in (one.column, one.feature, one.request, *one.also):
            return here
    return None
