"""From what the YAML says to entities, views and services."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta

import pyarrow as pa

from mosaic_assets.features.historical import known_times, required_columns
from mosaic_assets.features.views import FeatureView, Field
from mosaic_assets.value_types import FEATURE_TYPES, known_type
from mosaic_resources.errors import UserError

__all__ = ["check_rows", "duration", "fields_of"]

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(text: str | None, where: str) -> timedelta | None:
    """Returns the time that ``90s``, ``15m``, ``24h`` or ``7d`` means.

    Raises:
        UserError: The text is none of these.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)\s*([smhd])", text.strip())
    if not match:
        raise UserError(f"'{text}' is no duration.", where, "Write a number and s, m, h or d, for instance 24h.")
    return timedelta(seconds=int(match[1]) * UNITS[match[2]])


def fields_of(schema: Mapping[str, str], where: str) -> tuple[Field, ...]:
    """Returns the features of a ``schema`` block (name → type; ``string(32)`` gives the width online).

    Raises:
        UserError: A type is unknown.
    """
    fields = []
    for name, text in schema.items():
        match = re.fullmatch(r"(\w+?)(?:\((\d+)\))?", text)
        known_type("feature", name, match[1] if match else text, where)
        assert match is not None
        width = int(match[2]) if match[2] else 32 if match[1] == "string" else 8
        fields.append(Field(name, match[1], width))  # type: ignore[arg-type]
    return tuple(fields)


def check_rows(view: FeatureView, rows: pa.Table, where: str) -> pa.Table:
    """Returns the columns of a view in order, after checking that they can be joined by time.

    Raises:
        UserError: A column is missing or of another type, a time is NULL, an event is known before it happens,
            or two rows of one key have the same event and known time (which of them is true?).
    """
    wanted: Sequence[str] = required_columns(view)
    missing = [name for name in wanted if name not in rows.column_names]
    if missing:
        raise UserError(f"The view lacks column '{missing[0]}'.", where, f"It has: {', '.join(rows.column_names)}.")
    for field in view.schema:
        got = rows.schema.field(field.name).type
        if got != FEATURE_TYPES[field.dtype]:
            raise UserError(
                f"Feature '{field.name}' is {got}, declared as {field.dtype}.", where, "Cast it in the query."
            )
    event, known = known_times(view, rows)
    early = int((known < event).sum())
    if early:
        raise UserError(
            f"{early} rows are known before they happen.", where, "The known time may not precede the event time."
        )
    by = list(view.row_key)
    doubled = rows.num_rows - rows.group_by(by).aggregate([]).num_rows
    if doubled:
        raise UserError(
            f"{doubled} rows share {', '.join(by)} with another row.", where, "Keep one of them in the query."
        )
    return rows.select(wanted)
