"""The baseline: a random month raises no alarm, a season that was in training neither, a real shift does."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mosaic_assets.monitors.baseline import Baseline
from mosaic_assets.monitors.compare import alarms_of
from mosaic_assets.monitors.fit_baseline import fit_baseline
from mosaic_assets.monitors.profiles import profile_rows
from mosaic_resources.errors import UnknownNameError, UserError

WATCHED = ("temp", "speed", "seats", "carrier", "late")
PSI = {"population_stability_index": 0.2}
DAY = datetime(2013, 7, 1, tzinfo=UTC)


def alarms(baseline, rows, thresholds=PSI, *, within=True):
    profile = profile_rows(rows, baseline.names, DAY)
    found = []
    for column in baseline.columns:
        distances = column.distances(column.count_profile(profile))
        found += alarms_of(column.name, distances, thresholds, column.within if within else {})
    return [alarm.column for alarm in found]


@pytest.fixture
def baseline(half_year):
    return fit_baseline(half_year, WATCHED, baseline_id="m1", model_version="1", timestamp_col="at")


def test_baseline_survives_json(baseline):
    again = Baseline.model_validate_json(baseline.model_dump_json())
    assert again == baseline
    assert again.model_dump_json() == baseline.model_dump_json()


def test_baseline_is_at_no_distance_of_itself(half_year, baseline):
    for column in baseline.columns:
        distances = column.distances(column.count(half_year[column.name])).values()
        assert {name: value for name, value in distances.items() if value} == {}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("num_rows", [300, 3_000])
def test_random_month_of_the_baseline_raises_no_alarm(half_year, baseline, seed, num_rows):
    rows = half_year.take(np.random.default_rng(seed).choice(half_year.num_rows, num_rows))
    strict = {"population_stability_index": 0.2, "ks_test": 0.1, "null_share_change": 0.1, "new_category_share": 0.01}
    assert alarms(baseline, rows, strict, within=False) == []


def test_month_of_the_training_period_is_no_alarm_although_its_psi_is_high(half_year, baseline):
    june = half_year.filter(pc.equal(pc.month(half_year["at"]), 6))
    assert alarms(baseline, june, within=False) == ["temp"]
    assert alarms(baseline, june) == []


def test_shift_beyond_the_training_period_is_an_alarm_until_the_baseline_holds_it(half_year, baseline):
    june = half_year.filter(pc.equal(pc.month(half_year["at"]), 6))
    warmer = june.set_column(1, "temp", pc.add(june["temp"], 15.0)).set_column(
        0, "at", pa.array([DAY] * june.num_rows, pa.timestamp("us", tz="UTC"))
    )
    assert alarms(baseline, warmer) == ["temp"]
    moved = fit_baseline(pa.concat_tables([half_year, warmer]), WATCHED, baseline_id="m2", timestamp_col="at")
    august = warmer.set_column(1, "temp", pc.subtract(warmer["temp"], 1.0))
    assert alarms(baseline, august) == ["temp"]
    assert alarms(moved, august) == []


def test_new_categories_and_missing_values_are_seen(half_year, baseline):
    carrier = pc.if_else(pc.equal(half_year["carrier"], "EV"), "ZZ", half_year["carrier"])
    speed = pc.if_else(half_year["late"], None, half_year["speed"])
    rows = half_year.set_column(4, "carrier", carrier).set_column(2, "speed", speed)
    thresholds = {"new_category_share": 0.05, "null_share_change": 0.1}
    assert sorted(alarms(baseline, rows, thresholds)) == ["carrier", "speed"]
    column = baseline.column("carrier")
    found = column.distances(column.count(rows["carrier"]))
    assert found.new_category_share == pytest.approx(0.2, abs=0.02)
    assert found.ks_test is None


def test_window_without_values_has_no_distance(half_year, baseline):
    rows = half_year.set_column(1, "temp", pa.nulls(half_year.num_rows, pa.float64()))
    column = baseline.column("temp")
    distances = column.distances(column.count(rows["temp"]))
    assert distances.population_stability_index is None
    assert distances.null_share_change == pytest.approx(1 - column.held.missing_share)


def test_profile_counts_agree_with_exact_counts(half_year, baseline):
    profile = profile_rows(half_year, WATCHED, DAY)
    for column in baseline.columns:
        exact, sketched = column.count(half_year[column.name]), column.count_profile(profile)
        assert (exact.num_rows, exact.num_missing) == (sketched.num_rows, sketched.num_missing)
        psi = column.distances(sketched).population_stability_index
        assert psi < 0.001


def test_baseline_refuses_what_it_cannot_watch(half_year, baseline):
    with pytest.raises(UserError, match="A baseline needs rows"):
        fit_baseline(half_year.slice(0, 0), WATCHED, baseline_id="m")
    with pytest.raises(UnknownNameError, match="Did you mean 'speed'"):
        fit_baseline(half_year, ["sped"], baseline_id="m")
    with pytest.raises(UserError, match="Column 'at' is timestamp"):
        fit_baseline(half_year, ["at"], baseline_id="m")
    with pytest.raises(UnknownNameError, match="baseline column 'tmp'"):
        baseline.column("tmp")
    with pytest.raises(UserError, match="Column 'temp' is string, but numeric in the baseline"):
        baseline.column("temp").count(half_year["carrier"])
    swapped = half_year.rename_columns(["at", "carrier", "speed", "seats", "temp", "late"])
    for name in ("temp", "carrier"):
        with pytest.raises(UserError, match="in the baseline"):
            baseline.column(name).count_profile(profile_rows(swapped, WATCHED, DAY))
