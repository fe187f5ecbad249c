"""From a request's body to checked columns. A body that does not fit is refused with the field's name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from mosaic_resources.bentos.specification import RequestField

__all__ = ["MAX_ROWS", "BadRequestError", "Parsed", "parse_invocations", "parse_predict", "parse_time_us"]

MAX_ROWS = 10_000
MAX_TEXT_BYTES = 1024
CLIENT_ID = "client_request_id"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MLFLOW_FORMS = ("dataframe_split", "dataframe_records", "inputs")


class BadRequestError(Exception):
    """The request is wrong; says what, and which field.

    Args:
        message: What is wrong and what is expected.
        field: The field, if it is one field.
        status: HTTP status.
        code: Short name of the kind of error.
    """

    def __init__(self, message: str, field: str | None = None, *, status: int = 400, code: str = "BAD_REQUEST") -> None:
        self.message, self.field, self.status, self.code = message, field, status, code
        super().__init__(message)


@dataclass(frozen=True)
class Parsed:
    """A checked request.

    Args:
        columns: Field → (rows,) object (str), int64, float64 or datetime64[us]; NULL is None, NaN or NaT.
        num_rows: Number of rows.
        client_request_id: The caller's own id, if the body carries one.
    """

    columns: dict[str, npt.NDArray[Any]]
    num_rows: int
    client_request_id: str | None


def parse_predict(body: bytes, fields: Sequence[RequestField]) -> Parsed:
    """Returns the rows of a plain body: one object with the fields, or a list of such objects.

    Raises:
        BadRequestError: The body is no JSON, or does not fit the fields.
    """
    data = _json(body)
    if isinstance(data, dict):
        client_id = _client_id(data) if CLIENT_ID not in {field.name for field in fields} else None
        return _from_records([data], fields, client_id)
    return _from_records(data, fields, None)


def parse_invocations(body: bytes, fields: Sequence[RequestField]) -> Parsed:
    """Returns the rows of an MLflow body: ``dataframe_split``, ``dataframe_records`` or ``inputs``.

    Raises:
        BadRequestError: The body is no JSON, or does not fit the fields.
    """
    data = _json(body)
    if not isinstance(data, dict):
        raise BadRequestError(f"The body must be an object with one of {', '.join(MLFLOW_FORMS)}.")
    client_id = _client_id(data)
    if len(data) != 1 or next(iter(data)) not in MLFLOW_FORMS:
        unknown = next((key for key in data if key not in MLFLOW_FORMS), None)
        raise BadRequestError(f"The body must have exactly one of {', '.join(MLFLOW_FORMS)}.", _shown(unknown))
    ((form, rows),) = data.items()
    if form == "dataframe_split":
        return _from_split(rows, fields, client_id)
    if form == "inputs" and isinstance(rows, dict):
        return _from_columns(rows, fields, client_id)
    return _from_records(rows, fields, client_id)


def parse_time_us(text: str) -> int:
    """Returns an ISO-8601 time as microseconds since 1970, UTC; a time without offset is UTC.

    Raises:
        ValueError: The text is no time, or lies outside the years 1900 to 2199.
    """
    time = datetime.fromisoformat(text)
    # Beyond these years, nanoseconds and time-zone arithmetic of on-demand functions would overflow.
    if not 1900 <= time.year < 2200:
        raise ValueError(text)
    aware = time.replace(tzinfo=UTC) if time.tzinfo is None else time
    return (aware - EPOCH) // MICROSECOND


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise BadRequestError(f"The body is no JSON: {exc}.", code="MALFORMED_JSON") from exc


def _client_id(data: dict[str, Any]) -> str | None:
    value = data.pop(CLIENT_ID, None)
    if value is not None and not (isinstance(value, str) and len(value) <= MAX_TEXT_BYTES):
        raise BadRequestError(f"'{CLIENT_ID}' must be a text of at most {MAX_TEXT_BYTES} characters.", CLIENT_ID)
    return value


def _from_records(rows: Any, fields: Sequence[RequestField], client_id: str | None) -> Parsed:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadRequestError("The rows must be a list of objects.")
    known = {field.name for field in fields}
    for row in rows:
        if row.keys() != known:
            _refuse_names(row, known)
    return _checked({name: [row[name] for row in rows] for name in known}, fields, len(rows), client_id)


def _from_split(split: Any, fields: Sequence[RequestField], client_id: str | None) -> Parsed:
    if (
        not isinstance(split, dict)
        or not isinstance(split.get("columns"), list)
        or not isinstance(split.get("data"), list)
    ):
        raise BadRequestError(
            "'dataframe_split' must be an object with the lists 'columns' and 'data'.", "dataframe_split"
        )
    names, rows = split["columns"], split["data"]
    for key in split:
        if key not in ("columns", "data", "index"):
            raise BadRequestError(f"'dataframe_split' has no part '{_shown(key)}'.", _shown(key))
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise BadRequestError("'columns' must be a list of different texts.", "columns")
    _refuse_names(dict.fromkeys(names), {field.name for field in fields})
    if not all(isinstance(row, list) and len(row) == len(names) for row in rows):
        raise BadRequestError(f"Each row of 'data' must be a list of {len(names)} values.", "data")
    return _checked({name: [row[i] for row in rows] for i, name in enumerate(names)}, fields, len(rows), client_id)


def _from_columns(columns: dict[str, Any], fields: Sequence[RequestField], client_id: str | None) -> Parsed:
    _refuse_names(columns, {field.name for field in fields})
    lengths = set()
    for name, values in columns.items():
        if not isinstance(values, list):
            raise BadRequestError(f"'{name}' must be a list of values.", name)
        lengths.add(len(values))
    if len(lengths) > 1:
        raise BadRequestError("The columns of 'inputs' have different lengths.", "inputs")
    return _checked(columns, fields, lengths.pop(), client_id)


def _refuse_names(given: Mapping[str, Any], known: set[str]) -> None:
    for name in given:
        if name not in known:
            raise BadRequestError(
                f"Unknown field '{_shown(name)}'. Known: {', '.join(sorted(known))}.",
                _shown(name),
                code="UNKNOWN_FIELD",
            )
    for name in sorted(known):
        if name not in given:
            raise BadRequestError(f"The field '{name}' is missing.", name, code="MISSING_FIELD")


def _checked(
    columns: Mapping[str, list[Any]], fields: Sequence[RequestField], num_rows: int, client_id: str | None
) -> Parsed:
    if not 1 <= num_rows <= MAX_ROWS:
        raise BadRequestError(f"{num_rows} rows; 1 to {MAX_ROWS} are possible.", code="BAD_ROW_COUNT")
    return Parsed({field.name: _column(field, columns[field.name]) for field in fields}, num_rows, client_id)


def _column(field: RequestField, values: list[Any]) -> npt.NDArray[Any]:
    read, kind, null, dtype = READERS[field.type]
    plain = []
    for value in values:
        if value is None and field.nullable:
            plain.append(null)
            continue
        try:
            plain.append(read(value))
        except (ValueError, OverflowError) as exc:
            raise BadRequestError(
                f"'{field.name}' must be {kind}, not {_shown(value)}.", field.name, code="WRONG_TYPE"
            ) from exc
    if field.type == "int64" and None in plain:
        return np.array(plain, dtype=object)
    return np.array(plain, dtype=dtype)


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value.encode()) > MAX_TEXT_BYTES:
        raise ValueError
    return value


def _whole(value: Any) -> int:
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise ValueError
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError
    return float(value)


def _time(value: Any) -> np.datetime64:
    if not isinstance(value, str):
        raise ValueError
    return np.datetime64(parse_time_us(value), "us")


def _shown(value: Any) -> str | None:
    """A value for a message: short, whatever was sent."""
    if value is None or isinstance(value, str):
        return value if value is None or len(value) <= 64 else f"{value[:64]}…"
    return type(value).__name__


READERS: dict[str, tuple[Callable[[Any], Any], str, Any, Any]] = {
    "string": (_text, f"a text of at most {MAX_TEXT_BYTES} bytes", None, object),
    "int64": (_whole, "a whole number of 64 bits", None, np.int64),
    "float64": (_number, "a number", float("nan"), np.float64),
    "timestamp": (_time, "an ISO-8601 time, UTC, from 1900 to 2199", np.datetime64("NaT", "us"), "datetime64[us]"),
}
