"""One request from its bytes to its answer and its log record; no HTTP in here."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from bento.lookup import look_up, shown_rows
from bento.requests import BadRequestError, Parsed, parse_time_us
from bento.versions import Version
from mosaic_resources.bentos.on_demand import OnDemandError
from mosaic_resources.bentos.scoring import ScoringError
from mosaic_resources.bentos.specification import RequestField
from mosaic_resources.errors import DependencyError
from mosaic_resources.online.contract import OnlineStore

__all__ = ["Answer", "Call", "answer", "failure", "record", "request_time_us"]

Parse = Callable[[bytes, Sequence[RequestField]], Parsed]
# A refused body is logged only this far, so that junk does not fill the disk.
MAX_LOGGED_BYTES = 4096


@dataclass(frozen=True)
class Call:
    """A request as it came in.

    Args:
        request_id: Our id for it.
        client_request_id: The caller's id from the header, if any.
        body: The body.
        at_us: The request's time, microseconds UTC.
        began_ns: Monotonic clock when it began.
    """

    request_id: str
    client_request_id: str | None
    body: bytes
    at_us: int
    began_ns: int


@dataclass(frozen=True)
class Answer:
    """What leaves, and what is logged with it.

    Args:
        status: HTTP status.
        body: JSON.
        client_request_id: The caller's id.
        num_rows: Rows that got a prediction.
        missing: Feature → rows in which it was missing.
        features: Looked-up values by row, for the log.
        error: What went wrong on our side, for the process's own log.
    """

    status: int
    body: bytes
    client_request_id: str | None = None
    num_rows: int = 0
    missing: Mapping[str, int] | None = None
    features: Sequence[Mapping[str, Any]] = ()
    error: Exception | None = None


def answer(version: Version, store: OnlineStore | None, call: Call, parse: Parse) -> Answer:
    """Returns the answer to a request; never raises.

    Args:
        version: The version that answers.
        store: The online store; None where nothing is looked up.
        call: The request.
        parse: Reads the body's form.
    """
    client_id = call.client_request_id
    try:
        parsed = parse(call.body, version.specification.request)
        client_id = parsed.client_request_id or client_id
        looked_up = look_up(store, version.groups, parsed.columns, call.at_us)
        probabilities = version.probabilities(parsed.columns, looked_up, parsed.num_rows, call.at_us).tolist()
    except BadRequestError as exc:
        return failure(call, client_id, exc)
    except (ScoringError, OnDemandError) as exc:
        return failure(
            call, client_id, BadRequestError("The model failed on this request.", status=500, code="MODEL_FAILED"), exc
        )
    except DependencyError as exc:
        return failure(
            call, client_id, BadRequestError("The online store does not answer.", status=503, code="STORE_DOWN"), exc
        )
    except Exception as exc:
        return failure(
            call, client_id, BadRequestError("The service failed on this request.", status=500, code="INTERNAL"), exc
        )
    missing = {name: int(column.missing.sum()) for name, column in looked_up.items() if column.missing.any()}
    body = {
        "predictions": [{"probability": p, "label": int(p >= version.threshold)} for p in probabilities],
        "threshold": version.threshold,
        "model": version.specification.model.registered_model_name,
        "model_version": version.specification.model.version,
        "request_id": call.request_id,
        "client_request_id": client_id,
        "missing_features": missing,
    }
    features = shown_rows(looked_up, parsed.num_rows)
    return Answer(200, orjson.dumps(body), client_id, parsed.num_rows, missing, features)


def failure(call: Call, client_id: str | None, problem: BadRequestError, error: Exception | None = None) -> Answer:
    """Returns the answer that names a problem, without a traceback."""
    body = {
        "error_code": problem.code,
        "message": problem.message,
        "field": problem.field,
        "request_id": call.request_id,
    }
    return Answer(problem.status, orjson.dumps(body), client_id, error=error)


def record(version: Version, call: Call, given: Answer) -> bytes:
    """Returns the payload of the spool's frame: one request and its answer."""
    model = version.specification.model
    body = call.body if given.status == 200 else call.body[:MAX_LOGGED_BYTES]
    return orjson.dumps(
        {
            "request_id": call.request_id,
            "client_request_id": given.client_request_id,
            "timestamp_ms": call.at_us // 1000,
            "status_code": given.status,
            "execution_duration_ms": (time.perf_counter_ns() - call.began_ns) / 1e6,
            "request": body.decode(errors="replace"),
            "response": given.body.decode(),
            "served_entity_id": f"{model.registered_model_name}/{model.version}",
            "sampling_fraction": 1.0,
            "features": orjson.dumps(given.features).decode(),
            "model_version": model.version,
        }
    )


def request_time_us(header: str | None, simulated: bool) -> int:
    """Returns the request's time: the wall clock's, or that of ``x-mosaic-time`` on a simulated clock.

    Raises:
        BadRequestError: The header is no time.
    """
    if not simulated or header is None:
        return time.time_ns() // 1000
    try:
        return parse_time_us(header)
    except ValueError as exc:
        raise BadRequestError("'x-mosaic-time' must be an ISO-8601 time in UTC.", "x-mosaic-time") from exc
