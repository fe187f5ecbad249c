"""The monitor from its YAML, materialized for real: profiles, baseline, drift, incident."""

import re
import sys
from datetime import UTC, datetime

import dagster as dg
import pyarrow as pa
import pytest

from mosaic_assets.monitors.incident_log import INCIDENTS, read_events
from mosaic_resources.errors import UserError
from mosaic_resources.seams import Seams
from mosaic_resources.settings.clock import set_simulated_clock

AUGUST, OCTOBER = datetime(2013, 8, 1, 6, tzinfo=UTC), datetime(2013, 10, 1, tzinfo=UTC)


@pytest.fixture
def root(tmp_path, monkeypatch, story):
    for name in ("MOSAIC_STATE", "MOSAIC_LAKE", "MOSAIC_TARGET"):
        monkeypatch.delenv(name, raising=False)
    return story.make_project(tmp_path)


def cause(error):
    """Returns the messages of the whole chain; Dagster wraps what a component raises."""
    said = []
    while error:
        said.append(str(error))
        error = error.__cause__ or error.__context__
    return "\n".join(said)


def test_july_opens_an_incident_that_the_moved_baseline_closes(root, monkeypatch, story):
    seams = Seams.of(root)
    set_simulated_clock(seams.settings.state, AUGUST)
    history = pa.concat_tables([story.rows(month) for month in range(1, 7)])
    july = story.rows(7, shift=2.0)
    story.land(seams, pa.concat_tables([july, story.rows(8, shift=1.9)]), history)
    defs = story.load(root, monkeypatch)
    told = story.run(defs, "2013-07")
    event = read_events(seams.lake, "tiny")[-1]
    assert (event.name, event.kind, event.owner, event.score) == ("tiny/drift@1", "opened", "team:flights", 2 / 3)
    assert {reason.column for reason in event.reasons} == {"temp", "delay"}
    check = told.get_asset_check_evaluations()[0]
    assert (check.check_name, check.passed) == ("no_open_incident", False)
    version = seams.lake.version(INCIDENTS)
    story.run(defs, "2013-07")
    assert seams.lake.version(INCIDENTS) == version
    set_simulated_clock(seams.settings.state, OCTOBER)
    story.run(defs, "2013-08")
    assert read_events(seams.lake, "tiny")[-1].state == "open"
    story.land(seams, pa.concat_tables([july, story.rows(8, shift=1.9)]), pa.concat_tables([history, july]))
    told = story.run(defs, "2013-08", ["baseline", "drift_metrics", "incidents"])
    assert [event.kind for event in read_events(seams.lake, "tiny")].count("opened") == 1
    assert read_events(seams.lake, "tiny")[-1].kind == "resolved"
    assert told.get_asset_check_evaluations()[0].passed


def test_tables_hold_profiles_quality_and_drift_of_the_month(root, monkeypatch, story):
    seams = Seams.of(root)
    set_simulated_clock(seams.settings.state, AUGUST)
    story.land(seams, story.rows(7), pa.concat_tables([story.rows(month) for month in range(1, 7)]))
    story.run(story.load(root, monkeypatch), "2013-07")
    metrics = seams.lake.read("monitors/tiny_profile_metrics").to_pylist()
    whole = [row for row in metrics if row["granularity"] == "1 month" and row["slice_key"] is None]
    assert {row["column_name"] for row in whole} == {"temp", "delay", "origin", ":table"}
    assert {row["slice_value"] for row in metrics} == {None, "JFK", "LGA"}
    assert {row["quality_state"] for row in whole if row["column_name"] == ":table"} == {"not_enough_labels"}
    days = [row for row in metrics if row["granularity"] == "1 day" and row["column_name"] == "temp"]
    assert sum(row["count"] for row in days if row["slice_key"] is None) == 900
    set_simulated_clock(seams.settings.state, OCTOBER)
    story.run(story.load(root, monkeypatch), "2013-07", ["profile_metrics"])
    again = seams.lake.read("monitors/tiny_profile_metrics").to_pylist()
    assert len(again) == len(metrics)
    quality = next(row for row in again if row["column_name"] == ":table" and row["granularity"] == "1 month")
    assert (quality["quality_state"], quality["model_version"], quality["num_labelled"]) == ("measured", "1", 900)
    assert quality["roc_auc_score"] > 0.75
    drift = seams.lake.read("monitors/tiny_drift_metrics").to_pylist()
    assert {row["drift_type"] for row in drift} == {"BASELINE", "CONSECUTIVE"}
    assert not any(row["alarm"] for row in drift)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("granularities: [1 day, 1 month]", "granularities: [1 dya]", r"granularity '1 dya'.*Did you mean '1 day'"),
        ("granularities: [1 day, 1 month]", "granularities: [1 day]", "incident.granularity is not among"),
        ("timestamp_col: asked_at", "problem_type: classification", "inference_log monitor needs 'timestamp_col'"),
        ("entity_key: [id]", "entity_key: []", "'label_col' needs 'prediction_col' and 'entity_key'"),
        ("assets: [models/tiny], ", "", "'retraining' needs 'assets' or 'job'"),
        ("cooldown: 1h", "cooldown: soon", "'soon' is no duration"),
        ("min_rows: 200", "thresholds: {psi: 0.2}", r"metric 'psi' is not declared"),
        ("cooldown: 1h", "validation_thresholds: {roc_auc: {treshold: 0.7}}", r"'treshold'.*Did you mean 'threshold'"),
        ("cooldown: 1h", "validation_thresholds: {roc_auc: {}}", "demands nothing"),
        ("min_rows: 200", "close_under: 0.5", "close_under 0.5 is above open_over 0.1"),
    ],
)
def test_wrong_declaration_is_named_with_its_place(root, monkeypatch, story, old, new, words):
    assert old in story.MONITOR
    story.make_project(root, story.MONITOR.replace(old, new))
    with pytest.raises(Exception, match="Error while building definitions") as caught:
        story.load(root, monkeypatch).get_repository_def()
    assert re.search(rf"defs\.yaml:\d+: .*{words}", cause(caught.value))


def test_decision_is_an_asset_where_a_registered_model_is_watched(root, monkeypatch, story):
    watched = "registered_model_name: tiny\n  retraining: {validation_thresholds: {roc_auc: {threshold: 0.7}}, "
    story.make_project(root, story.MONITOR.replace("retraining: {", watched))
    graph = story.load(root, monkeypatch).get_repository_def().asset_graph
    assert graph.get(dg.AssetKey(["monitors", "tiny_decision"])).parent_keys == {
        dg.AssetKey(["predictions", "tiny"]),
        dg.AssetKey(["tables", "labels"]),
    }


def test_baseline_shows_the_drift_that_its_own_months_hold(root, monkeypatch, story):
    seams = Seams.of(root)
    set_simulated_clock(seams.settings.state, AUGUST)
    months = [story.rows(month, shift=0.5 * max(month - 4, 0)) for month in range(1, 7)]
    story.land(seams, story.rows(7), pa.concat_tables(months))
    (event,) = story.run(story.load(root, monkeypatch), "2013-07", ["baseline"]).get_asset_materialization_events()
    metadata = event.materialization.metadata
    title = "PSI of each month of training against 2013-01-01 to 2013-04-01"
    assert metadata["drift_over_time"].value.startswith(f"![{title}](data:image/png")
    worst = metadata["largest_drift_in_training"].value
    assert worst["temp"] > 0.5 > worst["origin"]


def test_month_without_rows_is_named(root, monkeypatch, story):
    seams = Seams.of(root)
    set_simulated_clock(seams.settings.state, AUGUST)
    story.land(seams, story.rows(7), story.rows(1))
    with pytest.raises(UserError, match="'predictions/tiny' has no rows between 2013-05-01 and 2013-06-01"):
        story.run(story.load(root, monkeypatch), "2013-05", ["profile_metrics"])


def test_definitions_load_without_whylogs_or_matplotlib(root):
    import subprocess

    code = (
        "import sys; from story.definitions import defs; defs().get_repository_def();"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'whylogs', 'matplotlib', 'torch', 'mlflow', 'pandas'}))"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120)
    assert out.stdout.strip() == "[]", out.stderr[-2000:]
