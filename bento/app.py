"""The HTTP face: routes, body limits, and the order log-then-answer."""

import asyncio
import time
from collections.abc import Callable

import orjson
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from bento.answer import Answer, Call, Parse, answer, failure, request_time_us
from bento.identifiers import new_request_id
from bento.requests import BadRequestError, parse_invocations, parse_predict
from bento.runtime import Runtime

__all__ = ["MAX_BODY_BYTES", "make_app"]

MAX_BODY_BYTES = 4 << 20
BODY_SECONDS = 5.0
MAX_HEADER_ID = 256
# Larger bodies, and all that ask a store on a server, are answered in a thread: others must not wait for them.
INLINE_BYTES = 32 << 10
JSON = "application/json"


def make_app(runtime: Callable[[], Runtime]) -> Starlette:
    """Returns the application.

    Args:
        runtime: Gives the process's runtime; called on each request, after start-up.
    """

    async def predict(request: Request) -> Response:
        return await _respond(runtime(), request, "/v1/predict", parse_predict)

    async def invocations(request: Request) -> Response:
        return await _respond(runtime(), request, "/invocations", parse_invocations)

    async def model(request: Request) -> Response:
        return Response(orjson.dumps(runtime().info), media_type=JSON)

    async def metrics(request: Request) -> Response:
        return Response(runtime().metrics.text(runtime().info), media_type="text/plain; version=0.0.4")

    async def index(request: Request) -> Response:
        return Response(_page(runtime()), media_type="text/plain; charset=utf-8")

    async def healthy(request: Request) -> Response:
        return Response("\n", media_type="text/plain")

    return Starlette(
        routes=[
            Route("/v1/predict", predict, methods=["POST"]),
            Route("/invocations", invocations, methods=["POST"]),
            Route("/v1/model", model, methods=["GET"]),
            Route("/metrics", metrics, methods=["GET"]),
            # Before BentoML's own page, which loads a tag manager.
            Route("/", index, methods=["GET"]),
            # BentoML answers these two itself; they are here for a server without it.
            Route("/livez", healthy, methods=["GET"]),
            Route("/readyz", healthy, methods=["GET"]),
        ]
    )


def _page(runtime: Runtime) -> str:
    """Returns what a person sees who opens the address in a browser."""
    version, info = runtime.version, runtime.info
    fields = ", ".join(f"{field.name} ({field.type})" for field in version.specification.request)
    return (
        f"{info['service']}: {info['model']} version {info['model_version']} answers (Bento {info['bento_tag']}).\n"
        f"POST /v1/predict   {fields}\n"
        "POST /invocations  the same, in MLflow's forms\n"
        "GET  /v1/model /livez /readyz /metrics\n"
        f"An answer's label is 1 from a probability of {version.threshold:g} on.\n"
    )


async def _respond(runtime: Runtime, request: Request, route: str, parse: Parse) -> Response:
    version, began = runtime.version, time.perf_counter_ns()
    call = Call(new_request_id(), _caller_id(request), b"", time.time_ns() // 1000, began)
    try:
        at_us = request_time_us(request.headers.get("x-mosaic-time"), runtime.environment.simulated_clock)
        _check_type(request)
        body = await _body(request)
        call = Call(call.request_id, call.client_request_id, body, at_us, began)
        store = runtime.store
        inline = len(body) <= INLINE_BYTES and not (store is not None and store.waits)
        work = (version, store, call, parse)
        given = answer(*work) if inline else await asyncio.to_thread(answer, *work)
    except BadRequestError as exc:
        given = failure(call, call.client_request_id, exc)
    given = runtime.log_then_answer(version, call, given)
    runtime.observe(route, given, call)
    return _response(call, given)


def _response(call: Call, given: Answer) -> Response:
    headers = {"x-request-id": call.request_id}
    if given.status in (408, 413):
        headers["connection"] = "close"
    return Response(given.body, given.status, headers, JSON)


def _caller_id(request: Request) -> str | None:
    given = request.headers.get("x-request-id")
    return given[:MAX_HEADER_ID] if given else None


def _check_type(request: Request) -> None:
    given = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if given != JSON and not (given.startswith("application/") and given.endswith("+json")):
        raise BadRequestError(f"Send {JSON}.", "content-type", status=415, code="UNSUPPORTED_MEDIA_TYPE")


async def _body(request: Request) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > MAX_BODY_BYTES:
        raise _too_large()
    chunks: list[bytes] = []
    num_bytes = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                num_bytes += len(chunk)
                if num_bytes > MAX_BODY_BYTES:
                    raise _too_large()
                chunks.append(chunk)
    except TimeoutError as exc:
        raise BadRequestError(
            f"The body did not come within {BODY_SECONDS:g} seconds.", status=408, code="TIMEOUT"
        ) from exc
    except ClientDisconnect as exc:
        raise BadRequestError("The connection ended within the body.", code="INCOMPLETE_BODY") from exc
    return b"".join(chunks)


def _too_large() -> BadRequestError:
    return BadRequestError(f"The body is longer than {MAX_BODY_BYTES} bytes.", status=413, code="TOO_LARGE")
