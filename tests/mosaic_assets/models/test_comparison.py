"""All versions side by side, as the job that a user declares; tracked by dagster-mlflow on SQLite."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from dagster.components.testing import create_defs_folder_sandbox

from mosaic_assets.datasets.fake import fake_manifest
from mosaic_assets.models.comparison.score import score_versions
from mosaic_assets.models.scores import scores
from mosaic_resources.bentos.encoding import Encoding
from mosaic_resources.bentos.fake import write_fake_model
from mosaic_resources.delta.commit import Commit
from mosaic_resources.errors import UserError
from mosaic_resources.mlflow.contract import Registry, RunRequest
from mosaic_resources.mlflow.fake import FakeRegistry
from mosaic_resources.seams import Seams

JULY = datetime(2013, 7, 1, tzinfo=UTC)
DEFS = """
type: mosaic_assets.models.ModelComparisonComponent
attributes:
  name: compare_late
  models: [late, late_reference]
  table: datasets/delays
  label: late
"""


def rows(num_rows: int = 600) -> pa.Table:
    """Returns July, whose label delay tells."""
    rng = np.random.default_rng(4)
    delay = rng.normal(0, 10, num_rows)
    at = pa.array([JULY + n * timedelta(days=31) / num_rows for n in range(num_rows)], pa.timestamp("us", tz="UTC"))
    late = (delay + rng.normal(0, 10, num_rows) > 0).astype(np.int32)
    return pa.table({"asked_at": at, "delay": delay, "noise": rng.normal(0, 10, num_rows), "late": late})


def register(registry: Registry, state: Path, name: str, weights: tuple[float, float], learnt: datetime) -> None:
    """Registers a version that is a line in delay and noise, fitted until some time."""
    end = learnt.isoformat()
    manifest = fake_manifest("delays", query=f"{name}{weights}", timestamp_field="asked_at", split=(end, end, end))
    manifest.save(state / "manifests")
    folder = state / f"fitted-{name}-{manifest.id}"
    write_fake_model(folder, Encoding(("delay", "noise"), {}), weights, name=name)
    registry.register(name, folder, registry.start_run(RunRequest(name, "fit")), {"manifest_id": manifest.id})


@pytest.fixture
def registry(tmp_path: Path) -> FakeRegistry:
    return FakeRegistry(tmp_path / "registry")


def test_versions_are_scored_on_the_rows_after_every_fit(registry: FakeRegistry, tmp_path: Path) -> None:
    middle = JULY + timedelta(days=15)
    register(registry, tmp_path, "late", (0.1, 0.1), JULY)
    register(registry, tmp_path, "late", (0.1, 0.0), middle)
    july = rows()
    best, other = score_versions(registry, ["late"], july, "late", tmp_path)
    assert (best.version, best.in_sample, other.version, other.in_sample) == ("2", False, "1", False)
    clean = july.filter(pc.greater_equal(july["asked_at"], pa.scalar(middle)))
    assert best.metrics["num_rows"] == len(clean) < len(july)
    delay = clean["delay"].to_numpy()
    expected = scores(clean["late"].to_numpy(), (delay - delay.min()) / np.ptp(delay))["roc_auc"]
    assert best.metrics["roc_auc"] == pytest.approx(expected)


def test_version_that_has_learnt_from_the_rows_is_marked_and_never_first(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    register(registry, tmp_path, "late", (0.0, 0.1), JULY)
    register(registry, tmp_path, "late", (0.1, 0.0), JULY + timedelta(days=31))
    first, second = score_versions(registry, ["late"], rows(), "late", tmp_path)
    assert (first.version, first.in_sample) == ("1", False)
    assert (second.version, second.in_sample) == ("2", True)
    assert second.metrics["roc_auc"] > first.metrics["roc_auc"]
    for manifest in (tmp_path / "manifests").glob("*.json"):
        manifest.unlink()
    assert all(line.in_sample for line in score_versions(registry, ["late"], rows(), "late", tmp_path))
    with pytest.raises(UserError, match=r"No version of nobody is registered\. Train one first"):
        score_versions(registry, ["nobody"], rows(), "late", tmp_path)


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[dg.Definitions, Seams]]:
    for name in ("MOSAIC_STATE", "MOSAIC_LAKE", "MOSAIC_TARGET", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    with create_defs_folder_sandbox() as sandbox:
        (sandbox.project_root / "pyproject.toml").write_text("[tool.dg]\n")
        (sandbox.defs_folder_path / "comparison").mkdir(parents=True)
        (sandbox.defs_folder_path / "comparison" / "defs.yaml").write_text(DEFS)
        with sandbox.build_all_defs() as definitions:
            yield definitions, Seams.of(sandbox.project_root.resolve())


def test_job_tracks_the_comparison_in_one_finished_mlflow_run(project: tuple[dg.Definitions, Seams]) -> None:
    definitions, seams = project
    state, july = seams.settings.state, rows()
    split = pa.array(["train"] * 100 + ["validation"] * 500)
    seams.lake.write("datasets/delays", july.append_column("split", split), Commit("test"))
    register(seams.registry, state, "late", (0.1, 0.1), JULY)
    register(seams.registry, state, "late", (0.1, 0.0), JULY + timedelta(days=31))
    register(seams.registry, state, "late_reference", (0.0, 0.1), JULY)
    result = definitions.resolve_job_def("compare_late").execute_in_process(instance=dg.DagsterInstance.ephemeral())
    assert result.success
    assert "MLFLOW_TRACKING_URI" not in os.environ  # MLflow sets it; another project would find it
    client = seams.registry.client
    (run,) = client.search_runs([client.get_experiment_by_name("compare_late").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.tags["best"] == "late/1"
    assert run.data.tags["dagster_run_id"] == result.run_id
    figures = run.data.metrics
    assert {name.partition(".")[0] for name in figures} == {"late_v1", "late_v2", "late_reference_v1"}
    assert figures["late_v1.num_rows"] == 500
    assert figures["late_v1.roc_auc"] > figures["late_reference_v1.roc_auc"]
    assert figures["late_v2.in_sample_roc_auc"] > figures["late_v1.roc_auc"]
    assert "late_v2.roc_auc" not in figures
