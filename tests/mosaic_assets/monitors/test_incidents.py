"""The state machine of incidents: hysteresis, epochs, idempotence."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosaic_assets.monitors.incidents import Observation, Policy, acknowledge, current, is_open, keep, observe, resolve
from mosaic_resources.errors import UserError

KEY = "flight_delay/drift"
START = datetime(2013, 1, 1, tzinfo=UTC)
policies = st.builds(
    lambda low, gap, opens, closes: Policy(low + gap, low, opens, closes),
    st.sampled_from([0.1, 0.3]), st.sampled_from([0.0, 0.2]), st.integers(1, 3), st.integers(1, 3),
)  # fmt: skip
scores = st.lists(st.one_of(st.none(), st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5, 0.9])), max_size=40)


def window(number, score, baseline="b1"):
    return Observation(KEY, START + timedelta(days=number), baseline, score)


def play(found, policy, log=()):
    log = list(log)
    for seen in found:
        log += observe(log, seen, policy, seen.window_start)
    return log


def oracle(found, policy):
    """Openings and closings by reading the scores, sharing nothing with the machine."""
    opened, turns, over, under = False, [], 0, 0
    for number, score in enumerate(found):
        if score is None:
            continue
        over = over + 1 if score >= policy.open_over else 0
        under = under + 1 if score < policy.close_under else 0
        if not opened and over >= policy.open_after:
            opened, under = True, 0
            turns.append(("opened", number))
        elif opened and under >= policy.close_after:
            opened, over = False, 0
            turns.append(("resolved", number))
    return turns


@given(scores, policies)
def test_incidents_open_and_close_as_the_oracle_says(found, policy):
    log = play((window(n, score) for n, score in enumerate(found)), policy)
    turns = [(event.kind, (event.window_start - START).days) for event in log if event.kind != "observed"]
    assert turns == oracle(found, policy)


@given(scores, policies)
def test_epochs_grow_by_one_and_the_log_is_numbered_without_gaps(found, policy):
    log = play((window(n, score) for n, score in enumerate(found)), policy)
    assert [event.sequence for event in log] == list(range(1, len(log) + 1))
    assert [event.epoch for event in log if event.kind == "opened"] == list(
        range(1, 1 + sum(event.kind == "opened" for event in log))
    )
    assert [event.epoch for event in log] == sorted(event.epoch for event in log)


@given(scores, policies, st.data())
def test_windows_seen_again_or_late_add_nothing(found, policy, data):
    seen = [window(n, score) for n, score in enumerate(found)]
    log = play(seen, policy)
    again = data.draw(st.lists(st.sampled_from(seen), max_size=10)) if seen else []
    observed = {event.window_start for event in log}
    repeated = [replace(one, score=0.9) for one in again if one.window_start in observed]
    assert play(repeated, policy, log) == log


@given(st.lists(st.sampled_from([0.06, 0.08, 0.099]), min_size=1, max_size=60))
def test_metric_that_flaps_between_the_thresholds_changes_nothing(found):
    policy = Policy(open_over=0.1, close_under=0.05)
    opened = play([window(0, 0.5)], policy)
    log = play((window(n + 1, score) for n, score in enumerate(found)), policy, opened)
    assert sum(event.kind == "opened" for event in log) == 1
    assert is_open(current(log)[KEY])


def test_flapping_over_both_thresholds_opens_once_where_windows_in_a_row_are_asked_for():
    policy = Policy(open_after=2, close_after=2)
    log = play((window(n, 0.5 if n % 2 else 0.0) for n in range(50)), policy)
    assert all(event.kind == "observed" for event in log)
    log = play((window(50 + n, 0.5) for n in range(2)), policy, log)
    log = play((window(52 + n, 0.5 if n % 2 else 0.0) for n in range(50)), policy, log)
    assert [event.name for event in log if event.kind != "observed"] == [f"{KEY}@1"]


def test_moved_baseline_counts_anew_and_closes_what_the_same_window_opened():
    policy = Policy()
    log = play([window(0, 0.2), window(31, 0.16)], policy)
    assert is_open(current(log)[KEY])
    log = play([window(31, 0.0, "b2")], policy, log)
    assert current(log)[KEY].state == "resolved"
    assert current(log)[KEY].note == "1 window(s) under 0.05, new baseline"
    assert play([window(31, 0.9, "b2"), window(31, 0.9, "b1")], policy, log) == log


def test_answer_in_vain_lets_later_bad_windows_open_the_next_epoch_once():
    policy = Policy(open_after=2)
    log = play([window(n, 0.5) for n in range(4)], policy)
    assert current(log)[KEY].name == f"{KEY}@1"
    log += keep(log, KEY, START, "version 2 was not promoted")
    told = current(log)[KEY]
    assert (told.state, told.epoch, told.kind, told.note) == ("open", 1, "kept", "version 2 was not promoted")
    assert keep(log, KEY, START, "again") == []
    assert play([window(3, 0.5)], policy, log) == log  # A window that was judged before opens nothing.
    log = play([window(4, 0.5)], policy, log)
    assert current(log)[KEY].epoch == 1  # open_after asks for two.
    log = play([window(5, 0.5), window(6, 0.5)], policy, log)
    assert [event.name for event in log if event.kind == "opened"] == [f"{KEY}@1", f"{KEY}@2"]
    log += keep(log, KEY, START, "nor was version 3")
    log = play([window(7, 0.0)], policy, log)
    assert current(log)[KEY].state == "resolved"
    assert keep(log, KEY, START, "too late") == []
    assert keep([], KEY, START, "nothing is open") == []


@given(scores, policies, st.sets(st.integers(0, 40), max_size=6))
def test_each_further_epoch_of_an_open_incident_follows_an_answer(found, policy, answers):
    log, answered = [], 0
    for number, score in enumerate(found):
        before = current(log).get(KEY)
        added = observe(log, window(number, score), policy, START)
        if is_open(before) and any(event.kind == "opened" for event in added):
            assert any(event.kind == "kept" and event.epoch == before.epoch for event in log)
            answered += 1
        log += added
        if number in answers:
            log += keep(log, KEY, START, "in vain")
    assert answered <= len(answers)
    assert [event.sequence for event in log] == list(range(1, len(log) + 1))


def test_people_take_and_close_incidents():
    policy = Policy(owner="team:flights", critical_over=0.4)
    log = play([window(0, 0.5)], policy)
    assert (log[-1].severity, log[-1].owner) == ("critical", "team:flights")
    log += acknowledge(log, KEY, "ann", START)
    assert acknowledge(log, KEY, "bob", START) == []
    log = play([window(1, 0.6)], policy, log)
    assert current(log)[KEY].state == "acknowledged"
    log += resolve(log, KEY, "ann", START, "a sensor was broken")
    assert not is_open(current(log)[KEY])
    for act in (acknowledge, lambda *a: resolve(*a, "again")):
        with pytest.raises(UserError, match=f"Incident '{KEY}' is not open"):
            act(log, KEY, "bob", START)
    log = play([window(2, 0.6)], policy, log)
    assert current(log)[KEY].name == f"{KEY}@2"


def test_policy_refuses_thresholds_that_make_no_sense():
    with pytest.raises(UserError, match=r"close_under 0.5 is above open_over 0.1"):
        Policy(0.1, 0.5)
    with pytest.raises(UserError, match="count windows"):
        Policy(open_after=0)
