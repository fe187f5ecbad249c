"""Rows of the two metric tables, through a real Delta table."""

from datetime import UTC, datetime

import pyarrow.compute as pc

from mosaic_assets.monitors import metrics_tables as tables
from mosaic_assets.monitors.compare import alarms_of
from mosaic_assets.monitors.fit_baseline import fit_baseline
from mosaic_assets.monitors.plots import drift_over_time, quality_over_time
from mosaic_assets.monitors.profiles import profile_rows
from mosaic_assets.monitors.quality import Quality
from mosaic_assets.monitors.windows import GRANULARITIES, Slice, window_end, window_starts
from mosaic_resources.delta.commit import Commit

JULY, NOW = datetime(2013, 7, 1, tzinfo=UTC), datetime(2013, 8, 1, 9, tzinfo=UTC)
WATCHED = ("temp", "carrier", "late")
ROWS = Slice(JULY, "1 month", "3", "origin", "JFK")


def test_profile_metrics_hold_each_column_and_the_quality(lake, half_year):
    profile = profile_rows(half_year, WATCHED, JULY)
    rows = tables.profile_rows_of(profile, ROWS, profile_path="p.bin", evaluated_at=NOW)
    unknown = Quality(JULY, "3", 10, 0, "not_enough_labels")
    rows.append(tables.quality_row(unknown, ROWS, evaluated_at=NOW))
    lake.write("monitors/m_profile_metrics", tables.as_profile_table(rows), Commit("t", 1), partition_by=["month"])
    read = {row["column_name"]: row for row in lake.read("monitors/m_profile_metrics").to_pylist()}
    temp, carrier, whole = read["temp"], read["carrier"], read[":table"]
    assert temp["window"] == {"start": JULY, "end": datetime(2013, 8, 1, tzinfo=UTC)}
    assert (temp["slice_key"], temp["slice_value"], temp["model_version"]) == ("origin", "JFK", "3")
    assert temp["quantiles"] == sorted(temp["quantiles"])
    assert temp["num_nan"] == profile.stats("temp").num_nan > 0
    assert carrier["avg"] is None
    assert carrier["frequent_items"][0]["item"] == "UA"
    assert (whole["quality_state"], whole["roc_auc_score"], whole["share_labelled"]) == ("not_enough_labels", None, 0.0)


def test_drift_metrics_hold_effect_sizes_and_no_p_value(lake, half_year):
    baseline = fit_baseline(half_year, WATCHED, baseline_id="m1")
    june = half_year.filter(pc.equal(pc.month(half_year["at"]), 6))
    made = []
    for column in baseline.columns:
        current = column.count(june[column.name])
        distances = column.distances(current)
        alarms = alarms_of(column.name, distances, {"population_stability_index": 0.2}, {})
        for kind in ("BASELINE", "CONSECUTIVE"):
            against = tables.Comparison(kind, "m1", "p.bin", NOW)
            made.append(tables.drift_row(column.name, distances, current, ROWS, against=against, alarms=alarms))
    lake.write("monitors/m_drift_metrics", tables.as_drift_table(made), Commit("t", 1))
    read = lake.read("monitors/m_drift_metrics").to_pylist()
    temp = next(row for row in read if row["column_name"] == "temp" and row["drift_type"] == "BASELINE")
    assert temp["population_stability_index"] > 0.2
    assert (temp["alarm"], temp["alarm_metric"], temp["window_cmp"]) == (True, "population_stability_index", None)
    assert 0 < temp["ks_test"]["statistic"] < 1
    assert temp["ks_test"]["pvalue"] is None
    carrier = next(row for row in read if row["column_name"] == "carrier" and row["drift_type"] == "CONSECUTIVE")
    assert (carrier["alarm"], carrier["alarm_threshold"], carrier["ks_test"]) == (False, None, None)
    assert carrier["window_cmp"]["end"] == JULY


def test_every_time_lies_in_its_window(half_year):
    for granularity in GRANULARITIES:
        starts = pc.unique(window_starts(half_year["at"], granularity)).to_pylist()
        ends = [window_end(start, granularity) for start in starts]
        for at in pc.unique(half_year["at"]).to_pylist():
            assert sum(start <= at < end for start, end in zip(starts, ends, strict=True)) == 1
    assert window_end(datetime(2013, 12, 1, tzinfo=UTC), "1 month") == datetime(2014, 1, 1, tzinfo=UTC)


def test_plots_are_png():
    series = {f"column {n}": [(JULY, 0.1 * n), (NOW, 0.2 * n)] for n in range(12)}
    drawn = drift_over_time(series, metric="population_stability_index", threshold=0.2, title="Drift")
    empty = quality_over_time({}, metric="roc_auc_score", title="Quality")
    full = quality_over_time({"1": [(JULY, 0.77)]}, metric="roc_auc_score", title="Quality")
    for picture in (drawn, empty, full):
        assert picture.startswith(b"\x89PNG")
