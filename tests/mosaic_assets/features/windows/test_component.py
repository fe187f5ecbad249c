"""Windows as a project declares them: faults with file and line, runs, partitions, a notebook's pushes, the listing."""

import itertools
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from mosaic_assets.cli.init import make_project
from mosaic_assets.cli.main import app
from mosaic_assets.features.store import FeatureStore
from mosaic_assets.orchestration.validation import faults
from mosaic_resources.errors import UnknownNameError, UserError
from mosaic_resources.settings.clock import set_simulated_clock

number = itertools.count()
YAML = """type: mosaic_assets.features.StreamFeatureViewComponent
attributes:
  name: station_windows
  description: How trips from a station have been.
  owners: [team:trips]
  entities: [station]
  source: tables/trips
  timestamp_field: ended_at
  known_delay: 5m
  ttl: 7d
  aggregations:
    - {function: count, window: 1d, kind: sliding, slide: 6h}
    - {function: mean, column: minutes, window: 1d, kind: sliding, slide: 6h}
    - {function: last, column: started_at, window: 2d, kind: sliding, slide: 6h, dtype: timestamp, name: last_start}
"""
SERVICE = """---
type: mosaic_assets.features.FeatureServiceComponent
attributes: {name: trips, features: ["station_windows:*"]}
"""
NAMES = ["station", "event_ts", "known_ts", "count_1d", "mean_minutes_1d", "last_start"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("DAGSTER_HOME", "OPENLINEAGE_URL", "MOSAIC_STATE", "MOSAIC_LANDING", "MOSAIC_LAKE", "MOSAIC_TARGET"):
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / f"windowed_{next(number)}"  # a package is imported once for each name
    make_project(root)
    return root


def declare(root: Path, text: str, name: str = "windows") -> None:
    folder = root / root.name / "defs" / name
    folder.mkdir()
    (folder / "defs.yaml").write_text(text)


def told(root: Path, *arguments: str):
    outcome = CliRunner().invoke(app, [*arguments, "--project", str(root), "--output", "json"])
    assert outcome.exit_code == 0, outcome.output
    return json.loads(outcome.stdout)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("function: mean", "function: meen", r"yaml:13: function 'meen' is not declared\. Did you mean 'mean'"),
        ("column: minutes", "column: minuts", r"yaml:13: column of 'tables/trips' 'minuts' .*mean 'minutes'"),
        ("ended_at", "endet_at", r"yaml:8: column of 'tables/trips' 'endet_at' is not declared"),
        ("minutes, window: 1d", "minutes, window: 1 day", r"yaml:13: '1 day' is no duration"),
        ("minutes, window: 1d", "minutes, window: 0h", r"yaml:13: '0h' is no length of a window"),
        ("minutes, window: 1d", "minutes, window: 8h", r"yaml:13: A window of 8h is no multiple of its slide 6h"),
        ("kind: sliding, slide: 6h}\n    - {function: mean", "kind: hopping, slide: 6h}\n    - {function: mean",
         r"yaml:12: kind of window 'hopping'"),
        ("minutes, window: 1d, kind: sliding, slide: 6h", "minutes, window: 1d, kind: tumbling, slide: 6h",
         r"yaml:13: A tumbling window has no 'slide'"),
        ("minutes, window: 1d, kind: sliding, slide: 6h", "minutes, window: 1d",
         r"yaml:13: The aggregations of a view end their windows at the same times"),
        ("column: minutes, ", "", r"yaml:13: 'mean' needs a column"),
        ("function: mean, ", "function: mean, dtype: int64, ", r"yaml:13: 'mean' is always float64"),
        ("function: mean, ", "function: mean, name: count_1d, ", r"yaml:13: A feature or key 'count_1d' is there"),
        ("column: started_at", "column: started_at", None),
        ("function: last", "function: max", None),
        ("function: last, column: started_at, window: 2d, kind: sliding, slide: 6h, dtype: timestamp",
         "function: max, column: started_at, window: 2d, kind: sliding, slide: 6h, dtype: string",
         r"yaml:14: 'max' of texts is no feature"),
        ("  known_delay: 5m\n", "", r"yaml:3: FeatureView 'station_windows' needs a known time"),
        ("source: tables/trips", "source: tables/trip", r"yaml:7: asset 'tables/trip' is not declared"),
        ("  ttl: 7d", "  partitions_def: {type: static, partition_keys: [a]}", r"yaml:10: The partitions of windows"),
    ],
)  # fmt: skip
def test_faults_are_told_with_file_and_line(project: Path, old: str, new: str, message: str | None):
    assert old in YAML
    declare(project, YAML.replace(old, new))
    found = [fault.message for fault in faults(project)]
    if message is None:
        assert found == []
    else:
        assert any(re.search(message, fault) for fault in found), found


def test_an_empty_list_of_aggregations_is_refused(project: Path):
    declare(project, YAML.partition("  aggregations:")[0] + "  aggregations: []\n")
    assert any("has no aggregations" in fault.message for fault in faults(project))


def test_a_declared_view_runs_is_listed_and_is_pushed_to(project: Path):
    declare(project, YAML + SERVICE)
    declare(
        project,
        YAML.replace("name: station_windows", "name: by_day").replace(
            "  ttl: 7d", "  partitions_def: {type: daily, start_date: '2024-01-01', end_date: '2024-03-01'}"
        ),
        "by_day",
    )
    set_simulated_clock(project / ".mosaic", datetime(2024, 3, 1, tzinfo=UTC))
    told(project, "materialize", "raw/trips", "tables/trips", "features/station_windows")
    store = FeatureStore.of(project)
    lake = store.seams.lake
    rows = lake.read("features/station_windows")
    assert rows.column_names == NAMES
    assert rows["last_start"].type == pa.timestamp("us", tz="UTC")

    told(project, "materialize", "features/by_day", "--partition", "2024-01-01..2024-02-29")
    told(project, "materialize", "features/by_day", "--partition", "2024-01-10")
    by = [(name, "ascending") for name in NAMES[:3]]
    assert lake.read("features/by_day").select(NAMES).sort_by(by).equals(rows.sort_by(by))

    (listed,) = [view for view in told(project, "features") if view["view"] == "station_windows"]
    assert listed["kind"] == "StreamFeatureView of tables/trips, sliding 6h"
    assert listed["features"] == {"count_1d": "int64", "mean_minutes_1d": "float64", "last_start": "timestamp"}
    assert listed["feature_services"] == ["trips"]
    shown = told(project, "features", "station_windows")
    assert shown["stands_on_it"] == {"online": ["trips"]}
    way = told(project, "trace", "asset", "features/station_windows")
    assert way["children"][0]["name"] == "tables/trips"

    trips = lake.read("tables/trips")
    station, now = trips["station"][0].as_py(), datetime(2024, 3, 1, tzinfo=UTC)
    pushed = trips.slice(0, 1).to_pylist()[0] | {"ended_at": now - timedelta(minutes=10), "minutes": 4.0}
    asked = pa.table({"station": [station]})

    def count() -> list[int | None]:
        return store.get_online_features(asked, "trips")["station_windows__count_1d"].to_pylist()

    store.push("station_windows", pa.Table.from_pylist([pushed], trips.schema))
    assert count() == [None]  # January's rows are past their ttl; the day's window closes five minutes from now.
    set_simulated_clock(project / ".mosaic", now + timedelta(minutes=6))
    assert store.advance("station_windows") == 1
    assert count() == [1]
    assert store.advance("station_windows") == 0
    with pytest.raises(UnknownNameError, match="StreamFeatureView 'station_trips'"):
        store.advance("station_trips")


def test_a_column_that_the_source_lost_is_named_by_the_run(project: Path):
    declare(project, YAML)
    told(project, "materialize", "raw/trips", "tables/trips")
    view = FeatureStore.of(project).stream_feature_views["station_windows"]
    lake = FeatureStore.of(project).seams.lake
    from mosaic_assets.features.windows.incremental import update
    from mosaic_resources.delta.commit import Commit

    lake.write("tables/trips", lake.read("tables/trips").rename_columns({"minutes": "length"}), Commit("other"))
    with pytest.raises(UserError, match=r"features/station_windows: column of 'tables/trips' 'minutes'"):
        update(lake, view, lake.version("tables/trips"), Commit("windows"))
