"""A steady load on an endpoint: requests leave on time, whether or not the ones before have been answered."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt

__all__ = ["Load", "LoadReport"]

MAX_CONNECTIONS = 64


@dataclass(frozen=True)
class LoadReport:
    """What a load saw.

    Args:
        num_requests: Requests sent.
        failures: Reason → requests that were not answered with 200.
        versions: Model version → answers.
        seconds: (answers,) float64, from the time a request was due to its answer.
        requests_per_second: Requests sent each second, over all.
    """

    num_requests: int
    failures: dict[str, int]
    versions: dict[str, int]
    seconds: npt.NDArray[np.float64]
    requests_per_second: float

    @property
    def num_failed(self) -> int:
        """Requests that were not answered with 200."""
        return sum(self.failures.values())

    def percentile_ms(self, percent: float) -> float:
        """Returns the latency in milliseconds that so many percent of the answers stayed below."""
        return float(np.percentile(self.seconds, percent) * 1000) if len(self.seconds) else float("nan")


class Load:
    """Sends requests in a thread of its own until it is told to end.

    Args:
        url: Address of the endpoint.
        bodies: JSON bodies, sent round and round.
        requests_per_second: Rate.
        min_requests: The load does not end before so many are sent.
        headers: Headers of every request.
        on_answer: Takes the index of the body and the answer, of each that is answered with 200.
    """

    def __init__(
        self,
        url: str,
        bodies: Sequence[str],
        *,
        requests_per_second: float,
        min_requests: int,
        headers: dict[str, str] | None = None,
        on_answer: Callable[[int, Mapping[str, Any]], None] | None = None,
    ) -> None:
        self._url, self._bodies, self._rate = url, bodies, requests_per_second
        self._min_requests, self._headers = min_requests, {"content-type": "application/json", **(headers or {})}
        self._on_answer = on_answer
        self._end, self._failures, self._versions = Event(), Counter[str](), Counter[str]()
        self._seconds: list[float] = []
        self._num_sent, self._elapsed = 0, 0.0
        self._thread = Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> "Load":
        """Begins and returns at once."""
        self._thread.start()
        return self

    def finish(self) -> LoadReport:
        """Lets the load run to its least number of requests, then waits for the last answers and returns the report."""
        self._end.set()
        self._thread.join()
        rate = self._num_sent / self._elapsed if self._elapsed else 0.0
        return LoadReport(self._num_sent, dict(self._failures), dict(self._versions), np.array(self._seconds), rate)

    async def _run(self) -> None:
        limits = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS)
        async with httpx.AsyncClient(base_url=self._url, timeout=10.0, limits=limits, trust_env=False) as client:
            began, waiting = time.perf_counter(), set[asyncio.Task[None]]()
            while not self._end.is_set() or self._num_sent < self._min_requests:
                due = began + self._num_sent / self._rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                task = asyncio.create_task(self._one(client, self._num_sent % len(self._bodies), due))
                waiting.add(task)
                task.add_done_callback(waiting.discard)
                self._num_sent += 1
            self._elapsed = time.perf_counter() - began
            await asyncio.gather(*waiting)

    async def _one(self, client: httpx.AsyncClient, index: int, due: float) -> None:
        try:
            response = await client.post("/v1/predict", content=self._bodies[index], headers=self._headers)
        except httpx.HTTPError as exc:
            self._failures[type(exc).__name__] += 1
            return
        if response.status_code != 200:
            self._failures[f"HTTP {response.status_code}"] += 1
            return
        self._seconds.append(time.perf_counter() - due)
        answer = response.json()
        self._versions[str(answer["model_version"])] += 1
        if self._on_answer:
            self._on_answer(index, answer)
