"""A month like the baseline raises no incident, one that is not does: production's thresholds, the whole path."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mosaic_assets.monitors.component import IncidentFields
from mosaic_assets.monitors.drift_windows import drift_rows, observations
from mosaic_assets.monitors.fit_baseline import fit_baseline
from mosaic_assets.monitors.incidents import current, is_open, observe
from mosaic_assets.monitors.metrics_tables import as_drift_table
from mosaic_assets.monitors.profile_store import ProfileStore
from mosaic_assets.monitors.profile_windows import Watched, make_profiles
from mosaic_assets.monitors.windows import Slice

JULY, AUGUST = datetime(2013, 7, 1, tzinfo=UTC), datetime(2013, 8, 1, tzinfo=UTC)
PRODUCTION = IncidentFields.model_validate({})  # What a monitor without an 'incident' block is judged by.
KEY, NUM_SEEDS = "weather/drift", 40


@pytest.fixture(scope="module")
def half_year_of_weather(nyc):
    return nyc.weather(*range(1, 7))


@pytest.fixture(scope="module")
def baseline(nyc, half_year_of_weather):
    return fit_baseline(half_year_of_weather, nyc.COLUMNS, baseline_id="half a year", timestamp_col="at")


@pytest.fixture
def judged(tmp_path, baseline):
    """Profiles rows as July's, compares the profile, and returns the incident's last event."""

    def judge(rows, granularities=("1 month",)):
        step = (AUGUST - JULY) / len(rows)
        at = pa.array([JULY + n * step for n in range(len(rows))], pa.timestamp("us", tz="UTC"))
        dated = rows.drop_columns(["at", "month"]).append_column("at", at)
        store = ProfileStore(str(tmp_path))
        watched = Watched(tuple(baseline.names), "at", granularities)
        made = make_profiles(dated, watched, store, tags={}, evaluated_at=AUGUST)
        drift = drift_rows(
            {Slice.of(row) for row in made}, baseline, store,
            thresholds=PRODUCTION.thresholds, min_rows=PRODUCTION.min_rows, evaluated_at=AUGUST,
        )  # fmt: skip
        (seen,) = observations(as_drift_table(drift), KEY, baseline, min_rows=PRODUCTION.min_rows, now_utc=AUGUST)
        assert seen.score is not None
        return current(observe([], seen, PRODUCTION.policy(), AUGUST))[KEY]

    return judge


def drawn(rows, seed):
    """Returns a month's worth of the rows, at random."""
    chosen = np.random.default_rng(seed).choice(len(rows), len(rows) // 6, replace=False)
    return rows.take(pa.array(np.sort(chosen)))


def test_no_month_drawn_at_random_from_the_baseline_opens_an_incident(half_year_of_weather, judged):
    events = [judged(drawn(half_year_of_weather, seed)) for seed in range(NUM_SEEDS)]
    assert [event.reasons for event in events if is_open(event)] == []
    assert max(event.score for event in events) == 0.0


def test_none_of_the_baselines_own_months_opens_an_incident(half_year_of_weather, judged):
    for month in range(1, 7):
        rows = half_year_of_weather.filter(pc.equal(half_year_of_weather["month"], month))
        event = judged(rows, granularities=("1 day", "1 month"))  # As in production: days, merged into the month.
        assert (month, event.state, event.reasons) == (month, "none", ())


def test_the_same_month_opens_one_where_a_column_is_shifted(half_year_of_weather, judged):
    for seed in range(5):
        month = drawn(half_year_of_weather, seed)
        shifted = pc.add(month["wind_speed"], 8.0)
        event = judged(month.set_column(month.schema.get_field_index("wind_speed"), "wind_speed", shifted))
        assert is_open(event)
        assert {reason.column for reason in event.reasons} == {"wind_speed"}


def test_real_july_opens_one(nyc, judged):
    event = judged(nyc.weather(7))
    assert is_open(event)
    assert {reason.column for reason in event.reasons} >= {"dewp"}
