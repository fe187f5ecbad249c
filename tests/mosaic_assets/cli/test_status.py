"""What ``mosaic status`` says of incidents and of the state folder."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from mosaic_assets.cli.disk import disk_use
from mosaic_assets.cli.init import make_project
from mosaic_assets.cli.main import app
from mosaic_assets.cli.status import collect
from mosaic_assets.monitors.decision_step import DECISIONS
from mosaic_assets.monitors.incident_log import append_events
from mosaic_assets.monitors.incidents import Event, Observation, Policy, acknowledge, observe
from mosaic_resources.bentos.encoding import Encoding
from mosaic_resources.bentos.fake import write_fake_model
from mosaic_resources.delta.commit import Commit
from mosaic_resources.mlflow.contract import CHALLENGER, CHAMPION, RunRequest
from mosaic_resources.seams import Seams


@pytest.fixture
def seams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Seams:
    for name in ("MOSAIC_STATE", "MOSAIC_LAKE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    make_project(tmp_path / "told")
    return Seams.of(tmp_path / "told")


def month(number: int) -> datetime:
    return datetime(2013, number, 1, tzinfo=UTC)


def test_incident_is_open_since_it_was_opened(seams: Seams) -> None:
    def watch(number: int, score: float) -> None:
        def decide(log: Sequence[Event]) -> list[Event]:
            seen = Observation("trips/drift", month(number), "b1", score)
            return observe(log, seen, Policy(), month(number + 1))

        append_events(seams.lake, "trips", decide)

    for number, score in ((5, 0.5), (6, 0.0), (7, 0.5), (8, 0.4), (9, 0.07)):  # opened twice, closed between
        watch(number, score)
    append_events(seams.lake, "trips", lambda log: acknowledge(log, "trips/drift", "me", month(11)))
    (told,) = collect(seams)["incidents"]
    assert (told["incident"], told["state"]) == ("trips/drift@2", "acknowledged")
    assert (told["since"], told["evaluated"]) == (month(8).isoformat(), month(10).isoformat())


def test_decision_of_an_open_incident_is_the_last_since_it_opened(seams: Seams) -> None:
    seen = Observation("trips/drift", month(7), "b1", 0.5)
    append_events(seams.lake, "trips", lambda log: observe(log, seen, Policy(), month(8)))

    def decide(number: int, verdict: str) -> None:
        row = {"decided_at": month(number), "verdict": verdict, "champion": "1", "challenger": "2",
               "reasons": '["too few"]'}  # fmt: skip
        rows = pa.Table.from_pylist([row], schema=pa.schema([DECISIONS.field(name) for name in row]))
        seams.lake.write("monitors/trips_decision", rows, Commit("monitors/trips_decision"), mode="append")

    decide(6, "promote")
    assert collect(seams)["incidents"][0]["decision"] is None
    decide(9, "keep")
    said = {"verdict": "keep", "at": month(9).isoformat(), "champion": "1", "challenger": "2", "reasons": ["too few"]}
    assert collect(seams)["incidents"][0]["decision"] == said
    shown = CliRunner().invoke(app, ["status", "--project", str(seams.settings.project_root)]).stdout
    assert f"last decision keep at {month(9).isoformat()} (champion 1, challenger 2: too few)" in shown


def test_nothing_is_opened_where_nothing_was_made(seams: Seams) -> None:
    told = collect(seams)
    assert (told["models"], told["models_problem"], told["incidents"], told["endpoints"]) == ([], None, [], [])
    assert not (seams.settings.state / "mlflow").exists()
    assert "engine" not in vars(seams)


def test_models_come_with_aliases_metrics_and_decisions(seams: Seams, tmp_path: Path) -> None:
    write_fake_model(tmp_path / "model", Encoding(("minutes",), {}), (0.1,), name="late")
    registry = seams.registry
    for auc in (0.7512, None):
        run = registry.start_run(RunRequest("late", "fit"))
        version = registry.register("late", tmp_path / "model", run)
        registry.end_run(run, "FINISHED", {"roc_auc": auc, "log_loss": 0.5} if auc else {})
    registry.set_alias("late", CHAMPION, "1", expected=None)
    registry.set_alias("late", CHALLENGER, "2", expected=None)
    registry.set_tags("late", version.version, {"decision": "keep", "decided_at": month(9).isoformat()})
    first, second = collect(seams)["models"]
    assert (first["version"], first["aliases"], first["metrics"]["roc_auc"]) == ("1", ["champion"], 0.7512)
    assert (second["aliases"], second["metrics"], second["decision"]) == (["challenger"], {}, "keep")
    shown = CliRunner().invoke(app, ["status", "--project", str(seams.settings.project_root)]).stdout
    lines = [line.split() for line in shown.splitlines()]
    assert ["late", "1", "champion", "roc_auc", "0.7512"] in lines
    assert ["late", "2", "challenger", "not", "measured", "keep", "at", "2013-09-01"] in lines
    assert "engine" not in vars(seams)


def test_registry_that_does_not_answer_is_said(seams: Seams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    told = collect(Seams.of(seams.settings.project_root))
    assert told["models"] == []
    assert "MLflow does not answer" in told["models_problem"]


def test_size_of_the_state_folder_is_what_it_takes(seams: Seams) -> None:
    assert disk_use(seams.settings.state) == 0
    (seams.settings.state / "deep").mkdir(parents=True)
    (seams.settings.state / "deep" / "file").write_bytes(b"x" * 1_000_000)
    told = collect(seams)
    assert told["state"] == str(seams.settings.state)
    assert 1_000_000 <= told["state_bytes"] < 1_100_000
