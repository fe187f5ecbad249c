"""Logged look-ups against the join: equal to the last bit, or counted."""

import json
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from mosaic_assets.features.views import Entity, FeatureRef, FeatureService, FeatureView, Field
from mosaic_assets.predictions.skew import measure_skew

START = datetime(2024, 1, 1, tzinfo=UTC)
FIELDS = (Field("x", "float64"), Field("n", "int64"), Field("at", "timestamp"))
VIEW = FeatureView("v", (Entity("e", ("k",)),), FIELDS, "features/v")
SERVICE = FeatureService.of("s", [VIEW], [FeatureRef("v", "*")])
TIME = pa.timestamp("us", tz="UTC")
ROWS = pa.table(
    {
        "k": ["a", "a", "b"],
        "event_ts": pa.array([START, START + timedelta(hours=2), START], TIME),
        "known_ts": pa.array([START, START + timedelta(hours=3), START], TIME),
        "x": [0.1 + 0.2, float("nan"), None],
        "n": [2**53 + 1, None, 3],
        "at": pa.array([START, None, START], TIME),
    }
)
FIRST = {"v__x": 0.1 + 0.2, "v__n": 2**53 + 1, "v__at": "2024-01-01T00:00:00.000000Z"}
LATE = {"v__x": None, "v__n": None, "v__at": None}


def logged(*calls, status=200):
    """One row of the inference table for each (hours, body, features)."""
    rows = [
        {
            "request_id": f"r{i}", "timestamp_ms": int((START + timedelta(hours=hours)).timestamp() * 1000),
            "status_code": status, "request": json.dumps(body), "features": json.dumps(features),
        }
        for i, (hours, body, features) in enumerate(calls)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows)


def skew(log):
    return measure_skew(log, {"k": "string"}, SERVICE, lambda _: ROWS)


def test_what_was_looked_up_is_what_the_join_says():
    one = (1, {"k": "a", "client_request_id": "c"}, [FIRST])
    before_it_is_known = (2.5, {"k": "a"}, [FIRST])
    nan_is_logged_as_null = (3, {"k": "a"}, [LATE])
    unknown = (1, {"k": "nobody"}, [LATE])
    many = (1, [{"k": "a"}, {"k": "nobody"}], [FIRST, LATE])
    frame = (1, {"dataframe_split": {"columns": ["k"], "data": [["a"], ["nobody"]]}}, [FIRST, LATE])
    found = skew(logged(one, before_it_is_known, nan_is_logged_as_null, unknown, many, frame))
    assert (found.num_rows, found.num_skewed, found.columns) == (8, 0, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [("v__x", 0.3), ("v__x", None), ("v__n", 2**53), ("v__at", None), ("v__at", "2024-01-01T00:00:00.000001Z")],
)
def test_a_value_that_differs_in_the_last_bit_is_counted(name, value):
    right, wrong = (1, {"k": "a"}, [FIRST]), (1, {"k": "a"}, [FIRST | {name: value}])
    found = skew(logged(right, wrong, right))
    assert (found.num_rows, found.num_skewed) == (3, 1)
    assert found.columns == {name: 1}
    assert found.request_ids == ("r1",)


def test_a_row_that_came_late_or_too_early_is_counted():
    late, early = (3, {"k": "a"}, [FIRST]), (2, {"k": "a"}, [LATE])
    assert skew(logged(late, early)).num_skewed == 2


def test_refused_requests_and_features_of_another_version_are_passed_over():
    assert skew(logged((1, {"wrong": 1}, []), status=400)).num_rows == 0
    older = {name: value for name, value in FIRST.items() if name != "v__n"}
    assert skew(logged((1, {"k": "a"}, [older]))).num_skewed == 0
    assert skew(logged((1, {"k": "a"}, [{"v__gone": 1}]))).num_rows == 0
