"""Profiles against whylogs' own path, against NumPy, and through their file."""

import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from mosaic_assets.monitors.drift import binned, quantile_edges
from mosaic_assets.monitors.profile_store import ProfileStore
from mosaic_assets.monitors.profiles import Profile, library, merge_profiles, profile_rows
from mosaic_assets.monitors.windows import Slice
from mosaic_resources.errors import UnknownNameError, UserError

DAY = datetime(2013, 7, 1, tzinfo=UTC)
WATCHED = ("temp", "speed", "seats", "carrier", "late")


@pytest.fixture
def profile(half_year):
    return profile_rows(half_year, WATCHED, DAY, {"model_version": "3"})


def test_profile_says_what_numpy_says(half_year, profile):
    held = half_year["temp"].drop_null().to_numpy()
    finite = held[~np.isnan(held)]
    stats = profile.stats("temp")
    assert (stats.count, stats.num_nulls, stats.num_nan) == (
        18_000,
        half_year["temp"].null_count,
        len(held) - len(finite),
    )
    assert (stats.min, stats.max) == (finite.min(), finite.max())
    assert stats.avg == pytest.approx(finite.mean())
    assert stats.stddev == pytest.approx(finite.std(ddof=1))
    ranks = [(finite <= value).mean() for value in profile.quantiles("temp", [0.1, 0.5, 0.9])]
    assert ranks == pytest.approx([0.1, 0.5, 0.9], abs=0.005)
    assert profile.stats("seats").distinct_count == pytest.approx(298, rel=0.03)


def test_profile_equals_the_one_whylogs_makes_itself(half_year, profile):
    library()
    import whylogs

    frame = half_year.select(WATCHED).to_pandas()
    theirs = whylogs.log(frame.astype({"late": object})).view()
    for column in WATCHED:
        ours, other = (view.get_column(column).to_summary_dict() for view in (profile.view, theirs))
        for figure, value in other.items():
            if figure.startswith(("counts/", "types/", "ints/")) and not figure.startswith("counts/n"):
                assert ours[figure] == value, (column, figure)
    assert profile.stats("temp").num_nan == 90 - half_year["temp"].slice(0, 90).null_count
    assert profile.text_counts("carrier") == {
        i.value: i.est for i in theirs.get_column("carrier").get_metric("frequent_items").strings
    }


def test_profile_file_is_opened_by_whylogs_in_another_process(tmp_path, profile):
    address = ProfileStore(str(tmp_path)).write(Slice(DAY, "1 day", "3", "origin", "JFK"), profile)
    assert address.endswith("1_day/2013-07-01/v3__origin=JFK.bin")
    code = (
        "import numpy as np; np.unicode_ = np.str_\nimport whylogs, sys\n"
        "v = whylogs.read(sys.argv[1]).view()\n"
        "print(v.get_column('seats').get_metric('counts').n.value, v.dataset_timestamp.isoformat())"
    )
    env = {"WHYLOGS_NO_ANALYTICS": "1", "HOME": str(tmp_path)}
    command = [sys.executable, "-c", code, address]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=env)
    assert out.stdout.split() == ["18000", DAY.isoformat()]


def test_merged_days_equal_the_month(half_year, profile):
    parts = [profile_rows(half_year.slice(start, 700), WATCHED, DAY) for start in range(0, 18_000, 700)]
    merged = merge_profiles(Profile.from_bytes(part.to_bytes()) for part in parts)
    for column in WATCHED:
        ours, whole = merged.stats(column), profile.stats(column)
        assert (ours.count, ours.num_nulls, ours.num_nan, ours.min, ours.max) == (
            whole.count, whole.num_nulls, whole.num_nan, whole.min, whole.max,
        )  # fmt: skip
        assert ours.avg == pytest.approx(whole.avg)
        assert ours.stddev == pytest.approx(whole.stddev)
        assert merged.text_counts(column) == profile.text_counts(column)


def test_bin_counts_are_exact_for_few_rows_and_close_for_many(half_year, profile):
    few = half_year.slice(5_000, 1_000)
    held = half_year["speed"].to_numpy()
    edges = quantile_edges(held, 200)
    exact = binned(few["speed"].to_numpy(), edges)
    assert profile_rows(few, ["speed"], DAY).bin_counts("speed", edges).tolist() == exact.tolist()
    gap = np.cumsum(profile.bin_counts("speed", edges) - binned(held, edges)) / len(held)
    assert np.abs(gap).max() < 0.005


def test_odd_values_are_counted_and_do_not_spoil_the_moments():
    table = pa.table(
        {
            "x": pa.array([1.0, -0.0, 0.0, np.inf, -np.inf, np.nan, None]),
            "none": pa.nulls(7, pa.float64()),
            "big": pa.array([2**62, None, 1, 1, 1, 1, 1], pa.int64()),
            "when": pa.array([DAY] * 7, pa.timestamp("us", tz="UTC")),
            "kind": pa.array(["a", "ß", "", None, "a", "a", "x" * 300]).dictionary_encode(),
        }
    )
    profile = Profile.from_bytes(profile_rows(table, table.column_names, DAY).to_bytes())
    x = profile.stats("x")
    assert (x.count, x.num_nulls, x.num_nan, x.num_inf, x.min, x.max) == (7, 1, 1, 2, 0.0, 1.0)
    assert x.avg == pytest.approx(1 / 3)
    none = profile.stats("none")
    assert (none.count, none.num_nulls, none.avg) == (7, 7, None)
    assert none.missing_share == 1
    assert profile.quantiles("none", [0.5]) is None
    assert profile.bin_counts("none", np.array([0.0])).tolist() == [0, 0]
    assert profile.stats("big").num_nulls == 1
    assert profile.stats("when").count == 7
    assert profile.text_counts("when") == {}
    assert profile.text_counts("kind") == {"a": 3, "": 1, "x" * 128: 1, "ß": 1}


def test_no_rows_make_an_empty_profile(half_year):
    stats = profile_rows(half_year.slice(0, 0), WATCHED, DAY).stats("carrier")
    assert (stats.count, stats.missing_share) == (0, 0.0)


def test_thousands_of_texts_are_counted_exactly():
    texts = [f"N{i}" for i in range(4_000) for _ in range(1 + i % 3)]
    found = profile_rows(pa.table({"tailnum": texts}), ["tailnum"], DAY).text_counts("tailnum")
    assert found == {f"N{i}": 1 + i % 3 for i in range(4_000)}


def test_wrong_columns_and_damaged_files_are_named(tmp_path, half_year, profile):
    with pytest.raises(UnknownNameError, match=r"column 'tmp' is not declared. Did you mean 'temp'"):
        profile_rows(half_year, ["tmp"], DAY)
    with pytest.raises(UnknownNameError, match="profiled column 'at'"):
        profile.stats("at")
    store, name = ProfileStore(f"file://{tmp_path}"), Slice(DAY, "1 month")
    with pytest.raises(UserError, match=r"1_month/2013-07-01/all.bin: There is no such profile"):
        store.read(name)
    store.write(name, profile)
    assert store.read(name).columns == profile.columns
    whole = profile.to_bytes()
    for damaged in (b"", whole[:40], whole[: len(whole) // 2], b"x" * 100):
        (tmp_path / name.path).write_bytes(damaged)
        with pytest.raises(UserError, match="no readable whylogs profile"):
            store.read(name)


def test_telemetry_is_off_and_the_drift_functions_import_without_ipython():
    import os

    library()
    assert os.environ["WHYLOGS_NO_ANALYTICS"]
    from whylogs.viz.drift.column_drift_algorithms import KS

    assert KS is not None
