"""The rows of a windowed view, joined at any time, are what an oracle over plain rows says was known then."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from window_events import EVENTS, MINUTE, TIME, late, minutes, service, table, view
from window_oracle import joined

from mosaic_assets.features.historical import get_historical_features
from mosaic_assets.features.windows.rows import EVER, Bounds, window_rows
from mosaic_resources.errors import UserError

SHAPES = st.sampled_from(
    [{"slide": slide, "windows": windows, "delay": delay}
     for slide, windows in ((0, (3, 9)), (0, (1, 30)), (3, (3,)), (3, (3, 12)), (2, (4, 8)), (1, (5, 10)))
     for delay in (None, 0, 2)]
)  # fmt: skip


def seen(made, events, times):
    """Returns for each (key, time) what the point-in-time join finds in the view's rows."""
    rows = window_rows(made, table(events))
    asked = pa.table({"k": [k for k, _ in times], "t": pa.array([minutes(t) for _, t in times], TIME)})
    return get_historical_features(asked, service(made), lambda _view: rows, "t").to_pylist()


def same(got, wanted, name):
    if wanted is None or not name.startswith("stddev"):
        return got == wanted
    return got == pytest.approx(wanted, rel=1e-12, abs=1e-12)


@settings(max_examples=400, deadline=None)
@given(EVENTS, SHAPES)
def test_the_join_sees_what_was_known_at_each_time(draws, shape):
    made, delay = view(**shape), shape["delay"]
    events = late(draws) if delay is None else [(k, e, e + delay, x) for k, e, _, x in draws]
    times = [(key, at) for key in ("a", "b", None) for at in range(60)]
    found = seen(made, events, times)
    for (key, at), row in zip(times, found, strict=True):
        wanted = joined(
            events, key, at, slide=shape["slide"], windows=shape["windows"], delay=delay or 0 if shape["slide"] else 0
        )
        for one in made.aggregations:
            name, window = one.name.rsplit("_", 1)
            value = None if wanted is None else wanted[2][int(window)][name]
            assert same(row[f"v__{one.name}"], value, name), (key, at, one.name)


@settings(max_examples=200, deadline=None)
@given(EVENTS, SHAPES)
def test_a_row_is_a_time_and_when_it_was_known(draws, shape):
    """Each row's known time is when the newest event of its windows was known, and no two rows of a time share one."""
    made = view(**{**shape, "delay": None})
    events = late(draws)
    rows = window_rows(made, table(events))
    keys = list(zip(*(rows[name].to_pylist() for name in ("k", "event_ts", "known_ts")), strict=True))
    assert len(set(keys)) == len(keys)
    for key, event, known in keys:
        at, end = int(known.timestamp()) // 60, int(event.timestamp()) // 60
        _, when, _ = joined(events, key, at, slide=shape["slide"], windows=shape["windows"], only=end)
        assert minutes(when) == known


@settings(max_examples=200, deadline=None)
@given(EVENTS, SHAPES, st.integers(0, 24), st.integers(0, 24), st.randoms())
def test_rows_that_are_asked_for_are_those_of_all(draws, shape, low, width, random):
    made, events = view(**{**shape, "delay": None}), late(draws)
    everything = window_rows(made, table(events))
    random.shuffle(events)
    high = low + width
    reach = made.reach_us // MINUTE
    needed = [one for one in events if low - reach <= one[1] <= high]
    bounds = Bounds(np.full(len(needed), low * MINUTE), np.full(len(needed), high * MINUTE))
    at = np.asarray(everything["event_ts"].cast(pa.int64()))
    wanted = everything.filter(pa.array((at >= low * MINUTE) & (at <= high * MINUTE)))
    assert same_bits(window_rows(made, table(needed), bounds), wanted)


def same_bits(left, right):
    by = [(name, "ascending") for name in ("k", "event_ts", "known_ts")]
    return left.sort_by(by).combine_chunks().equals(right.sort_by(by).combine_chunks())


def test_windows_run_on_for_millions_of_microseconds_and_keys_are_cut_nowhere(monkeypatch):
    rng = np.random.default_rng(3)
    events = [(f"k{k}", int(e), int(e + n), float(x)) for k, e, n, x in zip(
        rng.integers(0, 40, 3000), rng.integers(0, 4000, 3000), rng.integers(0, 9, 3000), rng.normal(size=3000),
        strict=True)]  # fmt: skip
    for shape in ({"windows": (30, 300)}, {"slide": 10, "windows": (10, 60)}):
        made = view(**shape)
        whole = window_rows(made, table(events))
        for module, limit in (("rows.EVENTS_PER_PIECE", 50), ("rows.PAIRS_PER_PIECE", 7), ("points.PAIRS_PER_PIECE", 7),
                              ("functions.PAIRS_PER_PIECE", 7)):  # fmt: skip
            monkeypatch.setattr(f"mosaic_assets.features.windows.{module}", limit)
        assert same_bits(window_rows(made, table(events)), whole)
        monkeypatch.undo()


def test_events_known_before_they_happen_are_refused():
    with pytest.raises(UserError, match=r"1 events are known before they happen\. Mend 'known' of 'raw/events'"):
        window_rows(view(), table([("a", 5, 4, 1.0)]))


def test_a_column_of_another_type_is_refused():
    events = table([("a", 5, 5, 1.0)])
    events = events.set_column(3, "x", pa.array(["high"]))
    with pytest.raises(UserError, match=r"Column 'x' is string, not float64.*declare another 'dtype'"):
        window_rows(view(), events)


def test_no_time_is_so_far_away_as_the_open_ends():
    assert timedelta(microseconds=EVER).days > 365 * 100_000
