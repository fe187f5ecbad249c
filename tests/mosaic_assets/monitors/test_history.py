"""The drift that the training rows' own months hold, on the real weather of 2013."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mosaic_assets.monitors.component import IncidentFields
from mosaic_assets.monitors.fit_baseline import fit_baseline
from mosaic_assets.monitors.history import history_drift, num_first_windows

THRESHOLD = IncidentFields.model_validate({}).thresholds["population_stability_index"]


@pytest.fixture(scope="module")
def drift(nyc):
    rows = nyc.weather(*range(1, 8))
    baseline = fit_baseline(rows, nyc.COLUMNS, baseline_id="weather", timestamp_col="at")
    return history_drift(baseline, rows, "at")


def test_temperature_drifts_from_may_on_and_more_each_month(drift):
    assert drift.first == tuple(datetime(2013, month, 1, tzinfo=UTC) for month in (1, 2, 3, 4))
    psi = {start.month: value for start, value in drift.series["temp"]}
    assert THRESHOLD < psi[5] < psi[6] < psi[7]
    assert psi[5] > 2 * max(psi[month] for month in (1, 2, 3, 4))
    assert {"temp", "dewp"} == set(drift.worst(2))


def test_what_has_no_season_does_not_drift(drift):
    assert max(value for _, value in drift.series["origin"]) < 0.01
    assert max(value for _, value in drift.series["precip"]) < THRESHOLD


def test_psi_of_a_month_is_that_of_its_shares_against_the_first_months(nyc, drift):
    rows = nyc.weather(*range(1, 8))
    column = fit_baseline(rows, ["temp"], baseline_id="w", timestamp_col="at").columns[0]
    edges = np.concatenate([[-np.inf], column.edges[1:-1], [np.inf]])
    shares = []
    for months in ([1, 2, 3, 4], [6]):
        part = rows.filter(pc.and_(pc.is_in(pc.month(rows["at"]), pa.array(months)), pc.is_valid(rows["temp"])))
        counts, _ = np.histogram(part["temp"].to_numpy(), edges)
        shares.append(counts / counts.sum())
    plain = [max(share, 1e-4) for share in shares[0]], [max(share, 1e-4) for share in shares[1]]
    by_hand = sum((new - old) * np.log(new / old) for old, new in zip(*plain, strict=True))
    assert dict(drift.series["temp"])[datetime(2013, 6, 1, tzinfo=UTC)] == pytest.approx(by_hand, rel=0.05)


def test_one_month_has_no_history(nyc):
    rows = nyc.weather(3)
    rows = rows.filter(pc.equal(pc.month(rows["at"]), 3))
    assert history_drift(fit_baseline(rows, ["temp"], baseline_id="w", timestamp_col="at"), rows, "at") is None
    assert [num_first_windows(n) for n in (2, 3, 6, 7, 12)] == [1, 2, 4, 4, 8]
