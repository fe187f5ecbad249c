"""Rows of an HTTP service, page after page; what passes is tried again, what does not is told."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin

import httpx
import tenacity

from mosaic_resources.errors import DependencyError, MosaicError, UserError
from mosaic_resources.http.pagination import Paging, Request, at, first_request, next_request
from mosaic_resources.settings.references import check_no_password, hidden, resolved, resolved_options

__all__ = ["HttpService"]

PASSING = (408, 425, 429, 500, 502, 503, 504)
MAX_WAIT_SECONDS = 60.0


class _PassingError(Exception):
    """A failure that may pass; ``wait_seconds`` is what the service asked for."""

    def __init__(self, told: str, wait_seconds: float | None = None) -> None:
        super().__init__(told)
        self.wait_seconds = wait_seconds


@dataclass(frozen=True)
class HttpService:
    """A service that answers GET with JSON.

    Args:
        url: As declared, with ``${NAME}`` for what is secret.
        where: Asset, for messages.
        params: Parameters of every request.
        headers: Headers of every request.
        records: Place of the rows in the body, ``data.items``; empty: the body is the list.
        paging: How pages follow.
        timeout_seconds: For a connection, and for each pause within an answer.
        max_attempts: Tries of one page.
        sleep: Waits between tries.
    """

    url: str
    where: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    records: str = ""
    paging: Paging = field(default_factory=Paging)
    timeout_seconds: float = 30.0
    max_attempts: int = 6
    sleep: Callable[[float], None] = tenacity.nap.sleep

    def rows(self, more: Mapping[str, str]) -> Iterator[Any]:
        """Yields the records of all pages, in order.

        Args:
            more: Parameters beside those that are declared.

        Raises:
            UserError: The credential or the request is refused, or an answer is not as declared.
            DependencyError: The service fails at every try.
        """
        check_no_password(self.url, self.where)
        params = {**resolved_options(self.params, self.where), **more}
        headers, url = resolved_options(self.headers, self.where), resolved(self.url, self.where)
        request: Request | None = first_request(url, params, self.paging)
        asked: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
        with httpx.Client(headers=headers, timeout=self.timeout_seconds) as client:
            while request is not None:
                page = (request.url, tuple(sorted(request.params.items())))
                if page in asked:
                    raise self._wrong("a page leads back to one before it", "pagination")
                asked.add(page)
                answer, body = self._page(client, request)
                found = at(body, self.records)
                if not isinstance(found, list):
                    raise self._wrong(f"there is no list at '{self.records or 'the top'}'", "records")
                yield from found
                following = next_request(request, self.paging, body, answer.links, len(found))  # type: ignore[arg-type]
                request = following and self._same_origin(answer.url, following)

    def _page(self, client: httpx.Client, request: Request) -> tuple[httpx.Response, Any]:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_PassingError),
            stop=tenacity.stop_after_attempt(self.max_attempts),
            wait=_wait,
            sleep=self.sleep,
            reraise=True,
        )
        try:
            answer, body = retrying(self._ask, client, request)
        except _PassingError as exc:
            raise DependencyError(
                f"The service failed {self.max_attempts} times, at last: {exc}", self.where, "Run it again later."
            ) from None
        return answer, body

    def _ask(self, client: httpx.Client, request: Request) -> tuple[httpx.Response, Any]:
        try:
            answer = client.get(request.url, params=dict(request.params) or None)
        except (httpx.TransportError, httpx.DecodingError) as exc:  # An answer that was cut off is none.
            raise _PassingError(self._told(f"{type(exc).__name__} {exc}")) from None
        except httpx.InvalidURL as exc:
            raise UserError(f"The address is none: {self._told(str(exc))}", self.where) from None
        if answer.status_code in PASSING:
            raise _PassingError(self._status(answer), _asked_wait(answer))
        if answer.status_code in (401, 403):
            raise UserError(
                f"The service refuses the credential: {self._status(answer)}", self.where,
                "Check the variables in 'headers' and 'url'. Nothing was written.",
            )  # fmt: skip
        if not answer.is_success:
            raise UserError(
                f"The service refuses the request: {self._status(answer)}", self.where, "Nothing was written."
            )
        try:
            return answer, json.loads(answer.content)
        except ValueError:
            raise _PassingError("the answer is no JSON, or was cut off.") from None

    def _same_origin(self, base: httpx.URL, request: Request) -> Request:
        """Returns the next request, whose address may be relative; the credential goes to no other server."""
        url = httpx.URL(urljoin(str(base), request.url))
        if (url.scheme, url.host, url.port) != (base.scheme, base.host, base.port):
            raise self._wrong(f"its next page is on another server ({url.host})", "pagination")
        return Request(str(url), request.params)

    def _status(self, answer: httpx.Response) -> str:
        return self._told(f"{answer.status_code} {answer.reason_phrase} {' '.join(answer.text.split())[:200]}".strip())

    def _wrong(self, what: str, field_name: str) -> MosaicError:
        return UserError(f"The answer is not as declared: {what}.", self.where, f"Check '{field_name}'.")

    def _told(self, text: str) -> str:
        plain = hidden(text, [self.url, *self.params.values(), *self.headers.values()])
        return plain if plain.endswith(".") else f"{plain}."


def _asked_wait(answer: httpx.Response) -> float | None:
    """Returns the seconds of ``Retry-After``, which are a number or a date; None where it names none."""
    told = answer.headers.get("retry-after", "")
    try:
        return max(0.0, float(told))
    except ValueError:
        pass
    try:
        return float(max(0.0, (parsedate_to_datetime(told) - datetime.now(UTC)).total_seconds()))
    except (ValueError, TypeError):
        return None


def _wait(state: tenacity.RetryCallState) -> float:
    failure = state.outcome.exception() if state.outcome else None
    asked = failure.wait_seconds if isinstance(failure, _PassingError) else None
    if asked is not None:
        return min(asked, MAX_WAIT_SECONDS)
    return float(tenacity.wait_random_exponential(multiplier=0.2, max=10)(state))
