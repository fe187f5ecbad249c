"""When a retraining is launched: never a storm, never a miss."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosaic_assets.monitors.incidents import Observation, Policy, current, is_open, observe
from mosaic_assets.monitors.retraining import Cursor, Launch, claims, should_launch
from mosaic_resources.errors import UserError

START = datetime(2013, 7, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def play(log, key, day, score):
    log += observe(log, Observation(key, START + day * DAY, "b", score), Policy(), START)


def test_three_incidents_within_the_cooldown_launch_once():
    log, cursor, launches = [], Cursor(), []
    for hour, key in enumerate(("a", "b", "c")):
        play(log, key, 0, 0.5)
        found, cursor = should_launch(log, Cursor.from_json(cursor.to_json()), DAY, START + timedelta(hours=hour))
        launches += found
    assert launches == [Launch("a@1", ("a@1",))]


def test_incidents_open_at_once_share_one_retraining_named_after_the_worst():
    log = []
    for key, score in (("a", 0.2), ("b", 0.9), ("c", 0.4)):
        play(log, key, 0, score)
    found, cursor = should_launch(log, Cursor(), DAY, START)
    assert found == [Launch("b@1", ("a@1", "b@1", "c@1"))]
    assert should_launch(log, cursor, DAY, START + 9 * DAY) == ([], cursor)


def test_incident_of_the_cooldown_is_launched_after_it_only_if_still_open():
    log = []
    play(log, "a", 0, 0.5)
    _, cursor = should_launch(log, Cursor(), DAY, START)
    play(log, "b", 0, 0.5)
    play(log, "c", 0, 0.5)
    play(log, "c", 1, 0.0)
    assert should_launch(log, cursor, DAY, START + DAY / 2) == ([], cursor)
    found, _ = should_launch(log, cursor, DAY, START + DAY)
    assert found == [Launch("b@1", ("b@1",))]


def test_reopened_incident_has_a_run_key_of_its_own():
    log = []
    for day, score in enumerate((0.5, 0.0, 0.5)):
        play(log, "a", day, score)
    assert should_launch(log, Cursor({"a": 1}), DAY, START)[0] == [Launch("a@2", ("a@2",))]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0.0, 0.07, 0.5]), st.booleans()), max_size=60))
def test_launches_keep_the_cooldown_and_cover_all_that_stays_open(steps):
    log, cursor, times, keys, cooldown = [], Cursor(), [], [], 3 * DAY
    for day, (key, score, ticks) in enumerate(steps):
        play(log, key, day, score)
        if ticks:
            found, cursor = should_launch(log, cursor, cooldown, START + day * DAY)
            times += [START + day * DAY] * len(found)
            keys += [launch.run_key for launch in found]
    assert len(set(keys)) == len(keys)
    assert all(later - earlier >= cooldown for earlier, later in pairwise(times))
    _, cursor = should_launch(log, cursor, cooldown, START + 100 * DAY)
    open_now = {key: event.epoch for key, event in current(log).items() if is_open(event)}
    assert all(cursor.launched[key] == epoch for key, epoch in open_now.items())


def test_unreadable_cursor_is_named():
    assert Cursor.from_json(None) == Cursor.from_json("") == Cursor()
    for text in ("{", "[]", "1", '{"launched": 3, "last_launch_utc": null}'):
        with pytest.raises(UserError, match="cursor is unreadable"):
            Cursor.from_json(text)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0.0, 0.5])), max_size=12),
    st.lists(st.tuples(st.integers(0, 11), st.sampled_from(["home", "other"]), st.booleans()), max_size=40),
)
def test_each_opening_is_launched_once_whoever_looks_and_whoever_dies(steps, looks):
    log, runs = [], {"home": [], "other": []}
    due = {day: [who for at, *who in looks if at == day] for day in range(12)}
    for day in range(12):
        if day < len(steps):
            play(log, steps[day][0], day, steps[day][1])
        for launcher, dies in due[day]:
            covered = {name for run in runs[launcher] for name in run.covers}
            found, _ = should_launch(log, Cursor(), timedelta(0), START + day * DAY, runs=covered, launcher=launcher)
            log += claims(log, found, launcher, START + day * DAY)
            runs[launcher] += [] if dies else found  # without its run, and always without its cursor
    for launcher in ("home", "other") * 2:  # at last both look twice and live
        covered = {name for run in runs[launcher] for name in run.covers}
        found, _ = should_launch(log, Cursor(), timedelta(0), START + 20 * DAY, runs=covered, launcher=launcher)
        log += claims(log, found, launcher, START + 20 * DAY)
        runs[launcher] += found
    launched = [name for each in runs.values() for run in each for name in run.covers]
    assert len(launched) == len(set(launched))
    assert {event.name for event in current(log).values() if is_open(event)} <= set(launched)
