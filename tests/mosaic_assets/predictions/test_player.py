"""Events pushed in order of known time give the offline join; events pushed late show as skew."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from mosaic_assets.features.historical import get_historical_features, microseconds
from mosaic_assets.features.materialize import get_online_features, materialize
from mosaic_assets.features.views import Entity, FeatureRef, FeatureService, FeatureView, Field
from mosaic_assets.predictions.player import Timeline, play, request_bodies
from mosaic_resources.errors import DependencyError
from mosaic_resources.online.memory import MemoryStore

START = datetime(2013, 7, 1, tzinfo=UTC)
VIEW = FeatureView("v", (Entity("e", ("k",)),), (Field("x", "float64"),), "t", ttl=timedelta(hours=40))
SERVICE = FeatureService.of("s", [VIEW], [FeatureRef.parse("v:*")])


def hours(*numbers):
    return pa.array([START + timedelta(hours=number) for number in numbers], pa.timestamp("us", tz="UTC"))


def view_rows():
    happened = list(range(60))
    known = [hour + (7 if hour % 5 == 0 else 1) for hour in happened]
    return pa.table(
        {
            "k": ["ab"[hour % 2] for hour in happened],
            "event_ts": hours(*happened),
            "known_ts": hours(*known),
            "x": [float(hour) for hour in happened],
        }
    )


def skewed(held_back):
    """Returns the hours at which the online value differs from the offline join."""
    requests = pa.table({"k": ["ab"[n % 2] for n in range(70)], "at": hours(*range(70))})
    offline = get_historical_features(requests, SERVICE, lambda _view: view_rows(), "at")["v__x"].to_pylist()
    rows = view_rows()
    on_time = rows.filter(pa.array([value not in held_back for value in rows["x"].to_pylist()]))
    store, timeline = MemoryStore(), Timeline(VIEW, on_time, since_us=0)
    wrong = []
    for hour, at in enumerate(microseconds(requests["at"], "at").tolist()):
        materialize(store, SERVICE, "v", timeline.until(at))
        asked = requests.slice(hour, 1)
        online = get_online_features(store, SERVICE, asked, microseconds(asked["at"], "at"))["v__x"].to_pylist()[0]
        if online != offline[hour]:
            wrong.append(hour)
    return wrong


def test_pushed_in_order_of_known_time_online_equals_offline():
    assert skewed(held_back=()) == []


def test_two_pushes_that_come_late_show_as_skew():
    # 22 is the newest of 'a' at 24 alone; 43 is that of 'b' at 45 and 47, for 45 itself is known seven hours later.
    assert skewed(held_back=(22.0, 43.0)) == [24, 45, 47]


def test_a_request_body_holds_keys_and_its_id_in_order_of_time():
    rows = pa.table({"id": ["b", "a"], "k": ["x", "y"], "at": hours(2, 1), "due": hours(4, 3)})
    bodies = request_bodies(rows, {"k": "string", "due": "timestamp"}, "at", "id")
    assert [body for _, body in bodies] == [
        '{"k": "y", "due": "2013-07-01T03:00:00Z", "client_request_id": "a"}',
        '{"k": "x", "due": "2013-07-01T04:00:00Z", "client_request_id": "b"}',
    ]


def test_an_endpoint_that_is_away_is_named():
    with pytest.raises(DependencyError, match="http://127.0.0.1:1: The endpoint did not answer"):
        play("http://127.0.0.1:1", [(0, "{}")], [], SERVICE, MemoryStore())
