"""Where lineage events go: a file of JSON lines (the default), or an OpenLineage collector."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from mosaic_resources.errors import DependencyError, UserError
from mosaic_resources.settings.settings import Settings

if TYPE_CHECKING:
    import httpx

__all__ = ["EventRefusedError", "FileSender", "HttpSender", "Sender", "make_sender"]

ENDPOINT = "api/v1/lineage"  # openlineage-python's default
TAIL_LINES = 8  # more than one row's events
# The receiver has looked at the event and will never take it; every other answer is worth another try.
REFUSALS = frozenset({400, 409, 413, 415, 422})


class EventRefusedError(UserError):
    """The collector has read the event and will not take it, now or later."""


class Sender(Protocol):
    """Delivers the events of one row at a time; returns only when all have arrived.

    Example:
        >>> class Printer:
        ...     def send(self, events: Sequence[str]) -> None:
        ...         print(events)
        ...
        ...     def close(self) -> None: ...
    """

    def send(self, events: Sequence[str]) -> None:
        """Delivers events (JSON texts) in order, one attempt each.

        Raises:
            DependencyError: One did not arrive; try all of them later.
            EventRefusedError: One never will.
        """
        ...

    def close(self) -> None:
        """Lets go of the connection or file."""
        ...


class FileSender:
    """Appends events to a file, one JSON line each; a line that a kill tore is cut off before the next.

    Args:
        file: The file; its folder is made.
    """

    def __init__(self, file: Path) -> None:
        self.file = Path(file)
        self._tail: list[bytes] | None = None

    def send(self, events: Sequence[str]) -> None:
        """Appends the events, except those that are there already (a kill came before they were marked)."""
        try:
            if self._tail is None:
                self._tail = self._mend()
            lines = [event.replace("\n", " ").encode() for event in events]
            new = [line for line in lines if line not in self._tail]
            with self.file.open("ab") as stream:
                stream.write(b"".join(line + b"\n" for line in new))
            self._tail = lines
        except OSError as exc:
            self._tail = None
            raise DependencyError(f"The lineage event cannot be written: {exc.strerror}.", str(self.file)) from exc

    def close(self) -> None:
        """Does nothing; no file stays open."""

    def _mend(self) -> list[bytes]:
        """Cuts a torn last line off and returns the last whole ones."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a+b") as stream:
            start = size = stream.seek(0, os.SEEK_END)
            tail = b""
            while start > 0 and tail.count(b"\n") <= TAIL_LINES:
                end, start = start, max(0, start - 65536)
                stream.seek(start)
                tail = stream.read(end - start) + tail
            whole = tail[: tail.rfind(b"\n") + 1]
            if len(whole) < len(tail):
                stream.truncate(size - len(tail) + len(whole))
        return whole.splitlines()[-TAIL_LINES:]


class HttpSender:
    """Posts events to an OpenLineage collector; one attempt each, with a short wait.

    Args:
        url: Address as in ``OPENLINEAGE_URL``.
        api_key: Bearer token; None without one.
        timeout_seconds: Longest wait for the connection, and for the answer.
        endpoint: Path below the address.
    """

    def __init__(
        self, url: str, api_key: str | None = None, timeout_seconds: float = 2.0, endpoint: str = ENDPOINT
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError("OPENLINEAGE_URL is no http address.", parts.scheme or None, "Write http://host:port.")
        self.place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"  # for messages: no credentials
        self._target = f"{url.rstrip('/')}/{endpoint.lstrip('/')}"
        self._headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {api_key}"} if api_key else {}
        )
        self._timeout_seconds = timeout_seconds
        self._client: httpx.Client | None = None

    def send(self, events: Sequence[str]) -> None:
        """Posts the events; the answer's status decides, its body is not waited for."""
        for event in events:
            self._post(event)

    def _post(self, body: str) -> None:
        import httpx

        if self._client is None:
            self._client = httpx.Client(timeout=self._timeout_seconds, headers=self._headers)
        try:
            with self._client.stream("POST", self._target, content=body.encode()) as answer:
                status = answer.status_code
        except (httpx.HTTPError, OSError) as exc:
            raise DependencyError(f"The lineage collector does not answer: {type(exc).__name__}.", self.place) from exc
        if status in REFUSALS:
            raise EventRefusedError(f"The lineage collector refuses an event with status {status}.", self.place)
        if not 200 <= status < 300:
            raise DependencyError(f"The lineage collector answers {status}.", self.place)

    def close(self) -> None:
        """Closes the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None


def make_sender(settings: Settings, environ: Mapping[str, str] | None = None) -> Sender:
    """Returns the sender of a target: to ``OPENLINEAGE_URL``, else to ``openlineage.jsonl`` in the state folder."""
    env = os.environ if environ is None else environ
    if settings.openlineage_url:
        endpoint = env.get("OPENLINEAGE_ENDPOINT") or ENDPOINT
        return HttpSender(settings.openlineage_url, env.get("OPENLINEAGE_API_KEY"), endpoint=endpoint)
    return FileSender(settings.state / "openlineage.jsonl")
