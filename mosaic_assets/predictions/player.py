"""Plays a stretch of time at an endpoint: each event is pushed before the next request, in order of known time."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.features.historical import known_times, microseconds
from mosaic_assets.features.materialize import materialize
from mosaic_assets.features.views import FeatureService, FeatureView
from mosaic_resources.errors import DependencyError
from mosaic_resources.online.contract import OnlineStore

__all__ = ["Played", "Timeline", "play", "request_bodies"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Played:
    """What came of a play.

    Args:
        answers: One answer for each request, in order of the requests' time.
        seconds: (requests,) float64, wall time of each request.
        num_pushed: Rows pushed to the online store.
    """

    answers: Sequence[Mapping[str, Any]]
    seconds: npt.NDArray[np.float64]
    num_pushed: int

    def percentile_ms(self, percent: float) -> float:
        """Returns the latency in milliseconds that so many percent of the requests stayed below."""
        return float(np.percentile(self.seconds, percent) * 1000) if len(self.seconds) else float("nan")


class Timeline:
    """The rows of one view in the order in which they became known.

    Args:
        view: The view.
        rows: Its rows.
        since_us: Rows known at or before this time are online already.
    """

    def __init__(self, view: FeatureView, rows: pa.Table, since_us: int) -> None:
        _, known = known_times(view, rows)
        order = np.argsort(known, kind="stable")
        self.view, self._rows, self._known = view, rows.take(pa.array(order)), known[order]
        self._next = int(np.searchsorted(self._known, since_us, side="right"))

    def until(self, at_us: int) -> pa.Table:
        """Returns the rows that became known since the last call, up to and including ``at_us``."""
        begin, self._next = self._next, max(self._next, int(np.searchsorted(self._known, at_us, side="right")))
        return self._rows.slice(begin, self._next - begin)


def play(
    url: str,
    bodies: Iterable[tuple[int, str]],
    timelines: Sequence[Timeline],
    service: FeatureService,
    store: OnlineStore,
    *,
    on_request: Callable[[], None] | None = None,
) -> Played:
    """Sends each request at its own time, after everything that was known by then.

    Args:
        url: Address of the endpoint.
        bodies: (microseconds UTC, JSON body) of the requests, in order of time.
        timelines: The online views' rows.
        service: The feature service that the endpoint looks up.
        store: The online store that it reads.
        on_request: Called after each answer.

    Raises:
        DependencyError: A request was not answered with 200.
    """
    answers: list[Mapping[str, Any]] = []
    seconds: list[float] = []
    num_pushed = 0
    with httpx.Client(base_url=url, timeout=10.0, trust_env=False) as client:
        for at_us, body in bodies:
            for timeline in timelines:
                rows = timeline.until(at_us)
                if rows.num_rows:
                    num_pushed += rows.num_rows
                    materialize(store, service, timeline.view.name, rows)
            headers = {"content-type": "application/json", "x-mosaic-time": _iso(at_us)}
            began = time.perf_counter()
            try:
                response = client.post("/v1/predict", content=body, headers=headers)
            except httpx.HTTPError as exc:
                raise DependencyError(f"The endpoint did not answer: {exc!r}.", url) from exc
            seconds.append(time.perf_counter() - began)
            if response.status_code != 200:
                raise DependencyError(f"The endpoint answered {response.status_code}: {response.text[:300]}", url)
            answers.append(response.json())
            if on_request:
                on_request()
    return Played(answers, np.array(seconds), num_pushed)


def request_bodies(
    rows: pa.Table, request: Mapping[str, str], timestamp_field: str, id_field: str
) -> list[tuple[int, str]]:
    """Returns (time, JSON body) for each row in order of time; the row's id goes along as ``client_request_id``.

    Args:
        rows: Rows with the request's columns.
        request: Field → type of the request.
        timestamp_field: Column with the time that is asked at.
        id_field: Column with the row's id.
    """
    ordered = rows.take(pc.sort_indices(rows, [(timestamp_field, "ascending"), (id_field, "ascending")]))
    at = microseconds(ordered[timestamp_field], timestamp_field).tolist()
    fields = {name: ordered[name].to_pylist() for name in request}
    ids = ordered[id_field].to_pylist()
    return [
        (
            at[row],
            json.dumps(
                {**{name: _json(values[row]) for name, values in fields.items()}, "client_request_id": ids[row]}
            ),
        )
        for row in range(ordered.num_rows)
    ]


def _json(value: Any) -> Any:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value


def _iso(at_us: int) -> str:
    return f"{np.datetime64(at_us, 'us')}Z"
