"""The chapters of a story, in order. Each can be run again: what it finds done, it does not double."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mosaic_assets.orchestration.retraining import retrain
from mosaic_assets.orchestration.story import Stage, month_after
from mosaic_assets.orchestration.ticker import Ticker

__all__ = ["Chapter", "chapters"]

Facts = Mapping[str, Any]
SWITCH_REQUESTS, SWITCH_RATE = 2400, 150.0
ARRIVAL = ("landing", "tables", "features")
EXAMPLES = 200  # requests at the end of a month that the load asks round and round


@dataclass(frozen=True)
class Chapter:
    """One stretch of the story.

    Args:
        name: Name in the progress file.
        title: What it does, for people.
        run: Does it and returns what it found; tells a ticker how far it is.
    """

    name: str
    title: str
    run: Callable[[Stage, Ticker], Facts]


def chapters(stage: Stage) -> Iterator[Chapter]:
    """Returns the chapters of a stage's story."""
    first, last = stage.script.history
    yield Chapter("landing", f"land {first} to {last} as files", _history("landing"))
    yield Chapter("tables", "ingest, clean and sift into Delta tables", _history("tables"))
    yield Chapter("features", "compute the feature views", _history("features"))
    yield Chapter("dataset", "join features as they were known, pin a manifest", _history("dataset"))
    yield Chapter("models", "train, tune, gate and register the champion; train the reference", _history("models"))
    yield Chapter("service", "materialize online, build the Bento, start the endpoint", _serve)
    drifting, deciding = stage.script.arriving
    yield Chapter("requests", f"{drifting} arrives: play its events and {stage.script.requests} requests", _play)
    yield Chapter("monitor", f"score {drifting}, profile it, compare it with the training data", _monitor)
    yield Chapter("retraining", "the daemon answers the incident with one retraining", retrain)
    yield Chapter("decision", f"{deciding} arrives: its labels decide between the two", _decide)
    yield Chapter("rollout", "switch the endpoint under load", _rollout)
    yield Chapter("closing", f"monitor {deciding} against the champion's training data, send lineage", _close)


def _history(station: str) -> Callable[[Stage, Ticker], Facts]:
    def run(stage: Stage, ticker: Ticker) -> Facts:
        stage.set_clock(month_after(stage.script.history[1]))
        ticker.expect(stage.num_steps(station))
        stage.make(station, stage.script.history, ticker)
        return {}

    return run


def _serve(stage: Stage, ticker: Ticker) -> Facts:
    from mosaic_assets.services.endpoints import start_built

    stage.set_clock(month_after(stage.script.history[1]))
    ticker.expect(stage.num_steps("service") + 1)
    stage.make("service", ticker=ticker)
    ticker.begun("endpoint")
    endpoint = start_built(stage.seams.settings, stage.script.service, simulated_clock=True)
    return {"endpoint": endpoint.url, "first_version": endpoint.model_version}


def _arrive(stage: Stage, month: str, ticker: Ticker) -> None:
    stage.set_clock(month_after(month))
    for station in ARRIVAL:
        stage.make(station, (month, month), ticker)


def _play(stage: Stage, ticker: Ticker) -> Facts:
    from mosaic_assets.predictions.player import Timeline, play, request_bodies
    from mosaic_assets.services.endpoints import start_built

    month = stage.script.arriving[0]
    ticker.expect(stage.num_steps(*ARRIVAL, "log", "log") + 1)
    _arrive(stage, month, ticker)
    seams, dataset, service = stage.seams, stage.dataset(), stage.feature_service()
    endpoint = start_built(seams.settings, stage.script.service, simulated_clock=True)
    began = int(month_after(stage.script.history[1]).timestamp() * 1e6)
    timelines = [Timeline(view, seams.lake.read(view.source), began) for view, _ in service.views if view.online]
    rows = _evenly(stage.request_rows(month), stage.script.requests, dataset.timestamp_field)
    bodies = request_bodies(rows, dataset.request, dataset.timestamp_field, stage.script.request_id)
    stage.make("log", ticker=ticker)
    before = len(stage.answered())  # Bodies are in order of time, so an interrupted play goes on where it stood.
    ticker.begun("requests")
    asked = itertools.count(before + 1)

    def tell() -> None:
        number = next(asked)
        ticker.note(f"request {number:,} of {len(bodies):,}", number / len(bodies))

    played = play(endpoint.url, bodies[before:], timelines, service, seams.online, on_request=tell)
    ticker.done("requests")
    stage.make("log", ticker=ticker)
    timed = len(played.answers)  # after an interruption only the rest
    answered = stage.answered()
    return {
        "answers": before + timed,
        "logged": len(answered),
        "rows_pushed": played.num_pushed,
        "timed_requests": timed,
        "p50_ms": round(played.percentile_ms(50), 2) if timed else None,
        "p99_ms": round(played.percentile_ms(99), 2) if timed else None,
        "request_id": answered[-1],
    }


def _monitor(stage: Stage, ticker: Ticker) -> Facts:
    month = stage.script.arriving[0]
    stage.set_clock(month_after(month))
    ticker.expect(stage.num_steps("scores", "monitor"))
    stage.make("scores", (month, month), ticker)
    stage.make("monitor", (month, month), ticker)
    return {}


def _decide(stage: Stage, ticker: Ticker) -> Facts:
    month = stage.script.arriving[1]
    ticker.expect(stage.num_steps(*ARRIVAL, "scores", "decision"))
    _arrive(stage, month, ticker)
    stage.make("scores", (month, month), ticker)
    stage.make("decision", (month, month), ticker)
    last = stage.seams.lake.read(f"monitors/{stage.script.monitor}_decision").sort_by("decided_at").to_pylist()[-1]
    return {"verdict": last["verdict"], "reasons": last["reasons"]}


def _rollout(stage: Stage, ticker: Ticker) -> Facts:
    from mosaic_assets.predictions.load import Load
    from mosaic_assets.predictions.player import request_bodies
    from mosaic_assets.services.endpoints import start_built

    month, seams, dataset = stage.script.arriving[1], stage.seams, stage.dataset()
    endpoint = start_built(seams.settings, stage.script.service, simulated_clock=True)
    ticker.expect(stage.num_steps("online", "service", "log") + 1)
    rows = stage.request_rows(month).sort_by(dataset.timestamp_field)
    last = rows.slice(max(0, rows.num_rows - EXAMPLES))  # flights about to leave when the month has passed
    bodies = [
        body for _, body in request_bodies(last, dataset.request, dataset.timestamp_field, stage.script.request_id)
    ]
    asked_at = month_after(month).isoformat().replace("+00:00", "Z")
    missing: dict[int, int] = {}
    stage.make("online", ticker=ticker)  # What became known in the month, before anybody asks after it.
    load = Load(
        endpoint.url,
        bodies,
        requests_per_second=SWITCH_RATE,
        min_requests=SWITCH_REQUESTS,
        headers={"x-mosaic-time": asked_at},
        on_answer=lambda index, answer: missing.update({index: len(answer["missing_features"])}),
    ).start()
    try:
        stage.make("service", ticker=ticker)
        ticker.begun(f"{SWITCH_REQUESTS:,} requests")
    finally:
        report = load.finish()
    ticker.done("requests")
    stage.make("log", ticker=ticker)
    return {
        "endpoint": endpoint.url,
        "switch_requests": report.num_requests,
        "switch_failed": report.num_failed,
        "switch_failures": report.failures,
        "switch_versions": report.versions,
        "switch_rate": round(report.requests_per_second, 1),
        "switch_p99_ms": round(report.percentile_ms(99), 2),
        "logged_in_all": stage.num_logged(),
        "example_body": bodies[min(missing, key=lambda index: (missing[index], -index))] if missing else bodies[-1],
        "example_time": asked_at,
    }


def _close(stage: Stage, ticker: Ticker) -> Facts:
    from mosaic_assets.lineage.send import send_lineage

    month = stage.script.arriving[1]
    ticker.expect(stage.num_steps("monitor") + 1)
    stage.make("monitor", (month, month), ticker)
    ticker.begun("send lineage")
    sent = send_lineage(stage.seams.settings)
    return {"lineage_sent": sent.sent}


def _evenly(rows: pa.Table, wanted: int, timestamp_field: str) -> pa.Table:
    """Returns so many rows, evenly spread over time."""
    ordered = rows.sort_by(timestamp_field)
    if ordered.num_rows <= wanted:
        return ordered
    return ordered.take(pa.array([position * ordered.num_rows // wanted for position in range(wanted)]))
