"""Two real events that reach the online store too late: the story's own Bento answers with skew, and only there."""

import json

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mosaic_assets.features.historical import get_historical_features, known_times, microseconds
from mosaic_assets.features.materialize import materialize
from mosaic_assets.orchestration.story import month_after
from mosaic_assets.predictions.inference_table import drain
from mosaic_assets.predictions.player import Timeline, play, request_bodies
from mosaic_assets.predictions.skew import measure_skew
from mosaic_assets.services.endpoints import active_bento
from mosaic_resources.bentos import process
from mosaic_resources.delta.commit import Commit
from mosaic_resources.online.contract import make_online_store

from .conftest import plain

pytestmark = pytest.mark.timeout(1500)
NUM_REQUESTS, LATE_VIEW = 600, "aircraft"


@pytest.fixture
def asked(stage):
    """The first requests of July, with their keys, in order of time."""
    rows = stage.request_rows("2013-07").sort_by([("asked_at", "ascending"), ("flight_id", "ascending")])
    return rows.slice(0, NUM_REQUESTS)


def two_winners(rows: pa.Table, asked: pa.Table, began: int) -> pa.Table:
    """Returns the newest known rows of two aircraft at their last request, both known since ``began``."""
    found: dict[str, pa.Table] = {}
    for request in reversed(asked.select(["tailnum", "asked_at"]).to_pylist()):
        at = pa.scalar(request["asked_at"], pa.timestamp("us", tz="UTC"))
        known = rows.filter(
            (pc.field("tailnum") == request["tailnum"]) & (pc.field("known_ts") <= at) & (pc.field("event_ts") <= at)
        ).sort_by([("event_ts", "descending"), ("known_ts", "descending")])
        since = known.filter(pc.field("known_ts") > pa.scalar(began, pa.timestamp("us", tz="UTC")))
        if since.num_rows and known.slice(0, 1).equals(since.slice(0, 1)):
            found.setdefault(request["tailnum"], known.slice(0, 1))
        if len(found) == 2:
            return pa.concat_tables(found.values())
    raise AssertionError("no two aircraft have landed since")


def without(rows: pa.Table, held: pa.Table) -> pa.Table:
    taken = {(row["tailnum"], row["known_ts"]) for row in held.to_pylist()}
    return rows.filter(pa.array([(row["tailnum"], row["known_ts"]) not in taken for row in rows.to_pylist()]))


def test_two_pushes_held_back_show_as_skew_and_nothing_else_does(lake, story, stage, asked, tmp_path):
    dataset, service = stage.dataset(), stage.feature_service()
    began = int(month_after("2013-06").timestamp() * 1e6)
    all_rows = {view.source: story.seams.lake.read(view.source) for view, _ in service.views}
    late = next(view for view, _ in service.views if view.name == LATE_VIEW)
    held = two_winners(all_rows[late.source], asked, began)
    on_time = {**all_rows, late.source: without(all_rows[late.source], held)}

    store = make_online_store(str(tmp_path / "online"))
    for view, _ in service.views:
        _, known = known_times(view, all_rows[view.source])
        materialize(store, service, view.name, all_rows[view.source].filter(known <= began))
    timelines = [Timeline(view, on_time[view.source], began) for view, _ in service.views]
    bodies = request_bodies(asked, dataset.request, dataset.timestamp_field, "flight_id")
    endpoint = process.start(
        active_bento(story.state, "flight_delay"), state=tmp_path / "state", service="late",
        online=str(tmp_path / "online"), spool=tmp_path / "spool", simulated_clock=True,
    )  # fmt: skip
    try:
        play(endpoint.url, bodies, timelines, service, store)
    finally:
        process.stop(tmp_path / "state", "late")
    drain(lake, tmp_path / "spool", "flight_delay", "requests", Commit("late"))
    logged = {
        row["client_request_id"]: json.loads(row["features"])[0]
        for row in lake.read("requests", columns=["client_request_id", "features"]).to_pylist()
    }
    assert len(logged) == NUM_REQUESTS

    def join(rows: dict[str, pa.Table]) -> dict[str, dict[str, object]]:
        found = get_historical_features(asked, service, lambda view: rows[view.source], dataset.timestamp_field)
        return {row["flight_id"]: {name: plain(row[name]) for name in service.columns} for row in found.to_pylist()}

    known, without_held = join(all_rows), join(on_time)
    answered = {key: {name: plain(row[name]) for name in service.columns} for key, row in logged.items()}
    skewed = {key for key in known if answered[key] != known[key]}
    assert skewed == {key for key in known if known[key] != without_held[key]}
    replayed = measure_skew(lake.read("requests"), dataset.request, service, lambda view: all_rows[view.source])
    assert (replayed.num_rows, replayed.num_skewed) == (NUM_REQUESTS, len(skewed))
    assert {name.split("__")[0] for name in replayed.columns} == {LATE_VIEW}
    flown = {row["tailnum"] for row in asked.to_pylist() if row["flight_id"] in skewed}
    assert flown == set(held["tailnum"].to_pylist())
    assert microseconds(held["known_ts"], "known_ts").min() > began
