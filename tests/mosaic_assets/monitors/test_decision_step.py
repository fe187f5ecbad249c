"""From drift to a decision and what it moves: alias, baseline, incident. Real steps, MLflow on SQLite."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from mosaic_assets.datasets.fake import fake_manifest
from mosaic_assets.lineage.events import encode
from mosaic_assets.monitors.incident_log import read_events
from mosaic_resources.bentos.encoding import Encoding
from mosaic_resources.bentos.fake import write_fake_model
from mosaic_resources.delta.commit import Commit
from mosaic_resources.errors import UserError
from mosaic_resources.mlflow.contract import CHALLENGER, CHAMPION, RunRequest
from mosaic_resources.seams import Seams
from mosaic_resources.settings.clock import set_simulated_clock

AUGUST, OCTOBER = datetime(2013, 8, 1, 6, tzinfo=UTC), datetime(2013, 10, 1, tzinfo=UTC)
RETRAINING = "retraining: {min_labelled_rows: 100, "


@dataclass(frozen=True)
class Played:
    """What a story left: its project, the manifests of both versions, what the decision told."""

    seams: Seams
    defs: dg.Definitions
    first: str
    second: str
    told: dict[str, Any]


def begin(root, story):
    """Makes the tiny project, watching a registered model, and returns its seams."""
    watched = f"registered_model_name: tiny\n  {RETRAINING}"
    seams = Seams.of(story.make_project(root, story.MONITOR.replace("retraining: {", watched)))
    set_simulated_clock(seams.settings.state, AUGUST)
    return seams


def register(seams, history, alias, learnt_month):
    """Registers a version that was fitted on the rows, which end with a month, and returns its manifest's id."""
    seams.lake.write(
        "datasets/tiny", history.append_column("split", pa.array(["train"] * len(history))), Commit("test")
    )
    version = seams.lake.version("datasets/tiny")
    end = f"2013-{learnt_month + 1:02}-01T00:00:00+00:00"
    manifest = fake_manifest("tiny", query=str(version), table_version=version, split=(end, end, end))
    manifest.save(seams.settings.state / "manifests")
    folder = seams.settings.state / f"fitted-{version}"
    write_fake_model(folder, Encoding(("temp", "delay"), {}), (0.1, 0.1), name="tiny")
    run_id = seams.registry.start_run(RunRequest("tiny", f"version of {version}"))
    made = seams.registry.register("tiny", folder, run_id, {"manifest_id": manifest.id})
    seams.registry.set_alias("tiny", alias, made.version, None)
    return manifest.id


def scored(rows, version, noise):
    """Returns predictions of a version; noise 1 leaves nothing of what the rows' own probability knew."""
    mixed = (1 - noise) * rows["probability"].to_numpy() + noise * np.random.default_rng(3).random(len(rows))
    told = rows.drop_columns(["probability", "model_version"])
    return told.append_column("probability", pa.array(mixed)).append_column("model_version", [[version] * len(rows)])


def play(seams, story, monkeypatch, *, challenger_noise):
    """Plays July, whose drift opens the incident, a retraining, August, which both versions score, and the decision."""
    history = pa.concat_tables([story.rows(month) for month in range(1, 7)])
    defs = story.load(seams.settings.project_root, monkeypatch)
    july, august = story.rows(7, shift=2.0), story.rows(8, shift=1.9)
    story.land(seams, scored(july, "1", 0.3), history)
    with pytest.raises(UserError, match="'tiny' has no champion"):
        story.run(defs, "2013-08", ["decision"])
    first = register(seams, history, CHAMPION, 6)
    story.run(defs, "2013-07")
    assert turns(seams) == [("opened", "tiny/drift@1")]
    assert baselines(seams) == [(first, "1")]
    second = register(seams, pa.concat_tables([history, july]), CHALLENGER, 7)
    set_simulated_clock(seams.settings.state, OCTOBER)
    both = [scored(august, "1", 0.6), scored(august, "2", challenger_noise), scored(july, "2", 0.0)]
    predictions = pa.concat_tables([scored(july, "1", 0.3), *both])
    seams.lake.write("predictions/tiny", predictions.drop_columns("late"), Commit("test"))
    labels = pa.concat_tables([july, august]).select(["id", "late"])
    known = pa.array([OCTOBER] * len(labels), story.UTC_TIME)
    seams.lake.write("tables/labels", labels.append_column("known_ts", known), Commit("test"))
    return Played(seams, defs, first, second, metadata_of(story.run(defs, "2013-08", ["decision"])))


def metadata_of(result):
    (event,) = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def baselines(seams):
    rows = seams.lake.read("monitors/tiny_baseline").to_pylist()
    return [(row["baseline_id"], row["model_version"]) for row in rows]


def turns(seams):
    return [(event.kind, event.name) for event in read_events(seams.lake, "tiny") if event.kind != "observed"]


def facets(seams, validate):
    """Returns the incident facets of the real steps' events, each checked against its schema."""
    found = []
    for stored in seams.outbox.events():
        for event in map(json.loads, encode(stored.body)):
            validate(event)
            if event["job"]["name"] == "monitors/tiny_incidents" and event["eventType"] == "COMPLETE":
                found += [output["facets"]["mosaic_incident"] for output in event["outputs"]]
    return found


@pytest.fixture(scope="module")
def promoted(tmp_path_factory, story):
    """The story of a challenger that is better on August, monitored anew afterwards."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("MOSAIC_STATE", "MOSAIC_LAKE", "MOSAIC_TARGET"):
            monkeypatch.delenv(name, raising=False)
        played = play(begin(tmp_path_factory.mktemp("promoted"), story), story, monkeypatch, challenger_noise=0.0)
        assert turns(played.seams) == [("opened", "tiny/drift@1")]
        story.run(played.defs, "2013-08")
        yield played


def test_promotion_moves_the_baseline_and_closes_the_incident(promoted, validate):
    assert promoted.told["verdict"] == "promote"
    registry = promoted.seams.registry
    assert (registry.find("tiny", CHAMPION).version, registry.find("tiny", CHALLENGER)) == ("2", None)
    assert promoted.first != promoted.second
    assert baselines(promoted.seams) == [(promoted.second, "2")]
    assert turns(promoted.seams) == [("opened", "tiny/drift@1"), ("resolved", "tiny/drift@1")]
    opened, resolved = facets(promoted.seams, validate)
    assert (opened["incident"], opened["epoch"], opened["state"]) == ("tiny/drift", 1, "open")
    assert (opened["metric"], opened["severity"]) == ("population_stability_index", "critical")
    assert opened["column"] in ("temp", "delay")
    assert opened["value"] > opened["threshold"] == 0.2
    assert resolved["state"] == "resolved"
    assert resolved | {"state": "open"} == opened


def test_decision_shows_roc_and_calibration_of_both_on_the_deciding_rows(promoted):
    for plot in ("roc", "calibration"):
        assert promoted.told[plot].startswith(f"![{plot}](data:image/png;base64,")
    registry = promoted.seams.registry
    kept = [file.path for file in registry.client.list_artifacts(registry.find("tiny", "2").run_id, "plots")]
    assert kept == ["plots/decision_calibration.png", "plots/decision_roc.png"]


def test_months_that_a_version_was_fitted_on_are_no_quality_of_it(promoted, story):
    told = metadata_of(story.run(promoted.defs, "2013-07", ["profile_metrics"]))
    assert told["in_sample"] == ["2013-07 v2"]
    assert {name for name in told if name.startswith("auc_")} == {"auc_2013-07_v1"}
    assert told["quality_over_time"].startswith("![AUC of tiny by late labels](data:image/png")
    rows = promoted.seams.lake.read("monitors/tiny_profile_metrics").to_pylist()
    months = [row for row in rows if row["granularity"] == "1 month" and row["quality_state"] is not None]
    assert {(row["month"], row["model_version"]): row["quality_state"] for row in months} == {
        ("2013-07", "1"): "measured", ("2013-07", "2"): "in_sample",
        ("2013-08", "1"): "measured", ("2013-08", "2"): "measured",
    }  # fmt: skip
    assert all(row["roc_auc_score"] is None for row in rows if row["quality_state"] == "in_sample")


def test_keep_lets_the_next_bad_month_open_the_next_epoch(tmp_path, story, monkeypatch):
    for name in ("MOSAIC_STATE", "MOSAIC_LAKE", "MOSAIC_TARGET"):
        monkeypatch.delenv(name, raising=False)
    played = play(begin(tmp_path, story), story, monkeypatch, challenger_noise=1.0)
    seams, defs = played.seams, played.defs
    assert played.told["verdict"] == "keep"
    assert seams.registry.find("tiny", CHAMPION).version == "1"
    assert turns(seams) == [("opened", "tiny/drift@1"), ("kept", "tiny/drift@1")]
    assert read_events(seams.lake, "tiny")[-1].note.startswith("version 2 was not promoted: the difference in AUC")
    story.run(defs, "2013-08", ["decision"])  # Its challenger is gone: nothing is told twice.
    story.run(defs, "2013-08")
    assert turns(seams)[2:] == [("opened", "tiny/drift@2")]
    assert baselines(seams) == [(played.first, "1")]
    story.run(defs, "2013-08")
    assert turns(seams)[3:] == []
