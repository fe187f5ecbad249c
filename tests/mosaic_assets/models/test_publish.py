from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from mosaic_assets.datasets.fake import fake_manifest
from mosaic_assets.models.card import CardFacts
from mosaic_assets.models.fitted import FittedModel
from mosaic_assets.models.gates import Reason, ValidationThreshold, Verdict
from mosaic_assets.models.inputs import manifest_of, model_columns
from mosaic_assets.models.publish import earlier_settings, publish, put_alias, tracked_run
from mosaic_assets.models.versions import find_version, version_folder
from mosaic_resources.bentos.model_folder import read_model_folder
from mosaic_resources.errors import UnknownNameError, UserError
from mosaic_resources.mlflow.contract import ModelVersion, RunRequest
from mosaic_resources.mlflow.fake import FakeRegistry

PASSED, FAILED = Verdict((Reason("m", True, "ok"),)), Verdict((Reason("m", False, "no"),))
PNG = b"\x89PNG\r\n\x1a\n"


def facts(run_id: str) -> CardFacts:
    now = datetime(2013, 7, 1, tzinfo=UTC)
    return CardFacts(
        "late", "Whether a flight is late.", "late", "datasets/d version 3", "abc", run_id, "code", now, {"seed": 17}
    )


def published(registry: FakeRegistry, fitted: FittedModel, threshold: float):
    with tracked_run(registry, RunRequest("late", "first")) as run_id:
        return publish(registry, fitted, facts(run_id), {"roc_auc": ValidationThreshold(threshold)})


def test_first_version_that_passes_is_champion_the_next_challenger(fitted: FittedModel, tmp_path: Path) -> None:
    registry = FakeRegistry(tmp_path)
    assert published(registry, fitted, 0.999).alias is None
    first, second = (published(registry, fitted, 0.5) for _ in range(2))
    assert (first.alias, second.alias) == ("champion", "challenger")
    assert registry.find("late", "champion").version == "2"
    assert registry.find("late", "challenger").version == "3"
    assert [version.aliases for version in registry.versions("late")] == [(), ("champion",), ("challenger",)]


def test_run_and_version_carry_each_other(fitted: FittedModel, tmp_path: Path) -> None:
    registry = FakeRegistry(tmp_path)
    made = published(registry, fitted, 0.5)
    run = registry.runs[made.version.run_id]
    assert run.status == "FINISHED"
    assert run.metrics["test_roc_auc"] == fitted.metrics["test_roc_auc"]
    assert run.tags["model_version"] == made.version.version
    assert {"model_card.md", "plots/loss.png", "plots/roc.png", "plots/calibration.png"} == set(run.files)
    assert all(content.startswith(PNG) for name, content in run.files.items() if name.endswith("png"))
    folder = version_folder(registry, tmp_path / "state", find_version(registry, "late", "champion"))
    identity = read_model_folder(folder).identity
    assert (identity.version, identity.run_id, identity.manifest_id) == ("1", made.version.run_id, "abc")
    assert identity.metrics["roc_auc"] == pytest.approx(fitted.metrics["roc_auc"])


def test_card_says_what_ran(fitted: FittedModel, tmp_path: Path) -> None:
    card = published(FakeRegistry(tmp_path), fitted, 0.5).card
    for text in (
        "GradientClipping",
        "LRMonitor",
        "EMA",
        "abc",
        "roc_auc",
        "carrier (3)",
        "✓ roc_auc",
        "seed",
        "chosen",
    ):
        assert text in card


@pytest.mark.parametrize(
    ("verdict", "has_champion", "alias"),
    [(PASSED, False, "champion"), (FAILED, False, None), (None, False, None), (PASSED, True, "challenger"),
     (FAILED, True, None), (None, True, "challenger")],
)  # fmt: skip
def test_alias(
    fitted: FittedModel, tmp_path: Path, verdict: Verdict | None, has_champion: bool, alias: str | None
) -> None:
    registry = FakeRegistry(tmp_path)
    if has_champion:
        published(registry, fitted, 0.5)
    version = registry.register("late", fitted.folder, "run-x")
    assert put_alias(registry, version, verdict) == alias


def test_reference_never_has_an_alias(fitted: FittedModel, tmp_path: Path) -> None:
    registry = FakeRegistry(tmp_path)
    run_id = registry.start_run(RunRequest("late", "reference"))
    made = publish(registry, fitted, facts(run_id), {"roc_auc": ValidationThreshold(0.5)}, promotable=False)
    assert made.alias is None
    assert registry.find("late", "champion") is None


@pytest.mark.parametrize(("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_run_that_breaks_is_closed_with_its_error(tmp_path: Path, error: type, status: str) -> None:
    registry = FakeRegistry(tmp_path)
    with pytest.raises(error), tracked_run(registry, RunRequest("late", "broken")):
        raise error("because")
    (run,) = registry.runs.values()
    assert run.status == status
    assert "because" in run.tags["error"]


def test_settings_are_kept_for_the_same_declaration() -> None:
    def version(number: int, code: str, settings: str) -> ModelVersion:
        return ModelVersion("late", str(number), "run", {"code_version": code, "settings": settings})

    versions = [version(1, "a", '{"x": 1}'), version(2, "b", '{"x": 2}'), version(3, "a", '{"x": 3}')]
    assert earlier_settings(versions, "a") == {"x": 3}
    assert earlier_settings(versions, "b") == {"x": 2}
    assert earlier_settings(versions, "c") is None
    assert earlier_settings([], "a") is None


def test_unknown_version(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no 'champion'\. Versions: none"):
        find_version(FakeRegistry(tmp_path), "late", "champion")


# What a model reads

TIME = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    {"id": pa.string(), "tailnum": pa.string(), "sched": TIME, "distance": pa.float64(), "late": pa.int32(),
     "v__x": pa.float64(), "v__at": TIME, "hour": pa.float64(), "split": pa.string()}
)  # fmt: skip


def test_columns_are_what_a_request_can_provide() -> None:
    given = ["tailnum", "sched"], ["v__x", "v__at"]
    assert model_columns(SCHEMA, *given, ()) == ("tailnum", "v__x", "hour")
    assert model_columns(SCHEMA, *given, ["tailnum"]) == ("v__x", "hour")
    assert model_columns(SCHEMA, *given, (), ["hour", "v__x"]) == ("v__x", "hour")
    with pytest.raises(UnknownNameError, match="column 'distance' is not declared"):
        model_columns(SCHEMA, *given, (), ["distance"])
    with pytest.raises(UserError, match="no column to read"):
        model_columns(SCHEMA, *given, ["tailnum"], ["tailnum"])


def test_manifest_is_found_by_the_tables_version(tmp_path: Path) -> None:
    made = [fake_manifest("d", query=str(number), table_version=number) for number in range(3)]
    for manifest in made:
        manifest.save(tmp_path)
    assert manifest_of(tmp_path, "d", 1) == made[1]
    with pytest.raises(UserError, match="No manifest names version 7"):
        manifest_of(tmp_path, "d", 7)
