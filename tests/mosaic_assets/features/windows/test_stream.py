"""What a request is answered while events are pushed is what the join later says was known then, bit for bit."""

from datetime import timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from window_events import EVENTS, MINUTE, TIME, late, minutes, service, table, view

from mosaic_assets.features.historical import get_historical_features
from mosaic_assets.features.materialize import get_online_features, push
from mosaic_assets.features.views import FeatureRef, FeatureService
from mosaic_assets.features.windows.rows import window_rows
from mosaic_assets.features.windows.stream import WindowStream
from mosaic_resources.errors import UserError
from mosaic_resources.online.memory import MemoryStore

SHAPES = st.sampled_from(
    [{}, {"windows": (1, 30)}, {"slide": 3}, {"slide": 2, "windows": (4, 8)}, {"delay": 2}, {"slide": 3, "delay": 2}]
)
KEYS = ("a", "b", None)


@settings(max_examples=150, deadline=None)
@given(SHAPES, EVENTS, st.integers(0, 16), st.sampled_from([None, 4]), st.sets(st.integers(0, 60), max_size=12))
def test_online_is_the_offline_join_at_every_time(shape, draws, num_before, ttl, asked_at):
    made, delay = view(**shape), shape.get("delay")
    events = late(draws) if delay is None else [(k, e, e + delay, x) for k, e, _, x in draws]
    view_of = made.feature_view
    if ttl is not None:
        view_of = type(view_of)(**{**vars(view_of), "ttl": timedelta(minutes=ttl)})
    served = FeatureService.of("s", [view_of], [FeatureRef("v", "*")])
    rows = window_rows(made, table(events))
    # An event is pushed when it is known, or when it happens and is known later.
    events.sort(key=lambda one: one[2])
    before, store = events[:num_before], MemoryStore()
    begin = max((known for *_, known, _ in before), default=0)
    stream = WindowStream(made, table(before), begin * MINUTE)
    push(store, [served], "v", stream.first)
    waiting = events[num_before:]
    for at in range(begin, 70):
        news = [one for one in waiting if (one[1] if delay else one[2]) <= at]
        waiting = [one for one in waiting if one not in news] if news else waiting
        if news:
            push(store, [served], "v", stream.push(table(news), at * MINUTE))
        elif shape.get("slide") or delay:
            push(store, [served], "v", stream.advance(at * MINUTE))
        if at in asked_at or news:
            asked = pa.table({"k": pa.array(KEYS), "t": pa.array([minutes(at)] * len(KEYS), TIME)})
            offline = get_historical_features(asked, served, lambda _view: rows, "t")
            assert get_online_features(store, served, asked, minutes(at)).equals(offline), at


def test_a_stream_holds_what_its_newest_rows_stand_on():
    made = view(windows=(10, 60))
    stream = WindowStream(made, table([]), 0)
    for at in range(0, 3000, 7):
        stream.push(table([(f"k{at % 5}", at, at, 1.0)]), at * MINUTE)
    assert stream.num_events <= 5 * (60 // 7 + 2)


def test_an_event_of_long_ago_changes_what_it_changes_in_the_table():
    made, store = view(windows=(5,)), MemoryStore()
    events = [("a", 100, 100, 1.0), ("a", 97, 300, 5.0), ("a", 3, 301, 7.0)]
    stream = WindowStream(made, table([]), 0)
    for one in events:
        push(store, [service(made)], "v", stream.push(table([one]), one[2] * MINUTE))
    asked = pa.table({"k": ["a"], "t": pa.array([minutes(301)], TIME)})
    offline = get_historical_features(asked, service(made), lambda _view: window_rows(made, table(events)), "t")
    found = get_online_features(store, service(made), asked, minutes(301))
    assert found.equals(offline)
    assert found["v__sum_5"].to_pylist() == [6.0]


def test_events_that_do_not_fit_are_refused():
    stream = WindowStream(view(), table([]), 0)
    with pytest.raises(UserError, match="The events lack column 'x'"):
        stream.push(table([]).drop_columns("x"), 0)
    with pytest.raises(UserError, match=r"The events do not fit 'raw/events'"):
        stream.push(table([("a", 1, 1, 1.0)]).set_column(3, "x", pa.array(["high"])), 0)
    with pytest.raises(UserError, match="known before they happen"):
        stream.push(table([("a", 2, 1, 1.0)]), 0)
    assert stream.num_events == 0
