"""The kernel against an oracle over plain rows that shares no code with it."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mosaic_assets.features.asof import NOTHING, AsofState, Events, LabelSlots, asof
from mosaic_assets.features.historical import get_historical_features
from mosaic_assets.features.views import Entity, FeatureRef, FeatureService, FeatureView, Field
from mosaic_resources.errors import UnknownNameError, UserError

START = datetime(2013, 1, 1, tzinfo=UTC)
small = st.integers(0, 12)
labels_of = st.lists(st.tuples(st.integers(-1, 3), small), max_size=12)
events_of = st.lists(st.tuples(st.integers(-1, 4), small, small), max_size=25)


def oracle(labels, events, ttl):
    """For each (key, at): the index of the winning (key, event, known), by looking at all of them."""
    winners = []
    for key, at in labels:
        seen = [
            (event, known, row)
            for row, (k, event, known) in enumerate(events)
            if k == key and key >= 0 and event <= at and known <= at and (ttl is None or event >= at - ttl)
        ]
        winners.append(max(seen)[2] if seen else NOTHING)
    return winners


def columns(rows, width):
    return np.array(rows, np.int64).reshape(-1, width).T


@settings(max_examples=300, deadline=None)
@given(labels_of, events_of, st.one_of(st.none(), st.integers(0, 12)), st.integers(0, 25))
def test_asof_equals_oracle_however_batched(labels, events, ttl, cut):
    key, at = columns(labels, 2)
    k, event, known = columns(events, 3)
    row = np.arange(len(events))
    state = AsofState(LabelSlots(key, at))
    for part in (slice(cut, None), slice(0, cut)):
        state.add(Events(k[part], event[part], known[part], row[part]))
    assert state.winners(ttl).tolist() == oracle(labels, events, ttl)


def test_asof_ignoring_known_time_is_caught_by_the_oracle():
    labels, events = [(0, 10)], [(0, 5, 5), (0, 8, 15)]
    key, at = columns(labels, 2)
    k, event, known = columns(events, 3)
    leaking = asof(key, at, Events(k, event, event, np.arange(2))).tolist()
    honest = asof(key, at, Events(k, event, known, np.arange(2))).tolist()
    assert honest == oracle(labels, events, None) == [0]
    assert leaking == [1] != oracle(labels, events, None)


def view(name="v", keys=("k",), ttl=None):
    return FeatureView(name, (Entity("e", keys),), (Field("x", "float64"),), "t", ttl=ttl)


def times(*hours):
    return pa.array([START + timedelta(hours=hour) for hour in hours], pa.timestamp("us", tz="UTC"))


def test_get_historical_features_joins_composite_and_null_keys():
    frame = pa.table({"a": ["x", "x", None, "y"], "b": [1, 2, 1, 1], "at": times(5, 5, 5, 5)})
    rows = pa.table(
        {
            "a": ["x", "x", None],
            "b": [1, 2, 1],
            "event_ts": times(1, 2, 1),
            "known_ts": times(1, 2, 1),
            "x": [1.0, 2.0, 3.0],
        }
    )
    service = FeatureService.of("s", [view(keys=("a", "b"))], [FeatureRef.parse("v:*")])
    joined = get_historical_features(frame, service, lambda _view: rows, "at")
    assert joined["v__x"].to_pylist() == [1.0, 2.0, None, None]


def test_get_historical_features_drops_what_is_older_than_the_ttl():
    frame = pa.table({"k": [1, 1], "at": times(2, 30)})
    rows = pa.table({"k": [1], "event_ts": times(1), "known_ts": times(1), "x": [7.0]})
    service = FeatureService.of("s", [view(ttl=timedelta(hours=24))], [FeatureRef.parse("v:x")])
    assert get_historical_features(frame, service, lambda _view: rows, "at")["v__x"].to_pylist() == [7.0, None]


def test_get_historical_features_names_what_is_wrong():
    service = FeatureService.of("s", [view()], [FeatureRef.parse("v:x")])
    rows = pa.table({"k": ["1"], "event_ts": times(1), "known_ts": times(1), "x": [7.0]})
    frame = pa.table({"k": [1], "at": times(2)})
    with pytest.raises(UserError, match="Join key 'k' is int64 in the entity table but string"):
        get_historical_features(frame, service, lambda _view: rows, "at")
    with pytest.raises(UnknownNameError, match="column 'att' is not declared.*Did you mean 'at'"):
        get_historical_features(frame, service, lambda _view: rows, "att")
    with pytest.raises(UnknownNameError, match="join key 'k' is not declared"):
        get_historical_features(frame.drop_columns("k"), service, lambda _view: rows, "at")
    with pytest.raises(UserError, match="1 times are NULL"):
        get_historical_features(
            pa.table({"k": ["1"], "at": pa.nulls(1, pa.timestamp("us", tz="UTC"))}), service, lambda _view: rows, "at"
        )


def test_feature_service_refuses_what_is_not_declared():
    with pytest.raises(UnknownNameError, match="Did you mean 'v'"):
        FeatureService.of("s", [view()], [FeatureRef.parse("vv:x")])
    with pytest.raises(UnknownNameError, match="feature of 'v' 'y'"):
        FeatureService.of("s", [view()], [FeatureRef.parse("v:y")])
    with pytest.raises(UserError, match="is no feature reference"):
        FeatureRef.parse("v.x")
