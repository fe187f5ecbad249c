"""A new version beside the one before it: on the same rows, and only where neither has learnt from them."""

from pathlib import Path
from typing import Any

import pytest

from mosaic_assets.datasets.fake import fake_manifest
from mosaic_assets.models.apply import apply_model
from mosaic_assets.models.fit import ModelData
from mosaic_assets.models.fitted import FittedModel
from mosaic_assets.models.rival import Comparison, compare_with_rival, rival_of
from mosaic_assets.models.scores import scores
from mosaic_resources.bentos.encoding import Encoding
from mosaic_resources.bentos.fake import write_fake_model
from mosaic_resources.errors import UnknownNameError
from mosaic_resources.mlflow.contract import CHAMPION
from mosaic_resources.mlflow.fake import FakeRegistry

MAY, JUNE, JULY = (f"2013-0{month}-01T00:00:00+00:00" for month in (5, 6, 7))
NEW = fake_manifest("d", query="new", split=(JUNE, JULY, JULY))
OLD = fake_manifest("d", query="old", split=(MAY, JUNE, JUNE))


@pytest.fixture
def registry(tmp_path: Path) -> FakeRegistry:
    registry = FakeRegistry(tmp_path / "registry")
    folder = tmp_path / "champion"
    write_fake_model(folder, Encoding(("delay", "wind"), {}), (0.1, 0.0), bias=-1.0, name="late")
    registry.register("late", folder, "run-1", {"manifest_id": OLD.id})
    registry.set_alias("late", CHAMPION, "1", None)
    return registry


def compared(registry: FakeRegistry, fitted: FittedModel, data: ModelData, state: Path, **changes: Any) -> Comparison:
    rows = data.split("validation")
    asked = {"rows": rows, "manifest": NEW, "rival": rival_of(registry, "late", promotable=True)} | changes
    return compare_with_rival(fitted, **asked, registry=registry, state=state, metric="roc_auc")


def test_rival_is_scored_on_the_same_rows(
    registry: FakeRegistry, fitted: FittedModel, data: ModelData, tmp_path: Path
) -> None:
    OLD.save(tmp_path / "manifests")
    found = compared(registry, fitted, data, tmp_path)
    ((name, (labels, theirs)),) = found.scored.items()
    assert name == "champion version 1"
    rows = data.split("validation")
    assert labels.tolist() == rows["late"].to_pylist()
    # The fake's graph is a line in delay, so its ranking is that of delay with missing values at 0.
    delay = rows["delay"].fill_null(0.0).to_numpy()
    expected = scores(labels, (delay - delay.min()) / (delay.max() - delay.min()))["roc_auc"]
    assert found.metrics["rival_validation_roc_auc"] == pytest.approx(expected)
    assert scores(labels, theirs)["roc_auc"] == pytest.approx(expected)
    own = fitted.metrics["validation_roc_auc"]
    fits = f"{name}, fitted until 2013-06-01 → this one, until 2013-06-01"
    assert found.text == f"roc_auc {expected:.4f} → {own:.4f} on the same 500 validation rows ({fits})"
    assert "rival_validation_num_rows" not in found.metrics


def test_rival_that_would_be_flattered_or_cannot_be_scored_is_not(
    registry: FakeRegistry, fitted: FittedModel, data: ModelData, tmp_path: Path
) -> None:
    gone = compared(registry, fitted, data, tmp_path)
    assert gone.text.endswith("on 500 validation rows; champion version 1 is not compared: its manifest is gone")
    OLD.save(tmp_path / "manifests")
    early = fake_manifest("d", query="early", split=(MAY, JUNE, JUNE))
    assert "it has learnt from rows until 2013-06-01" in compared(registry, fitted, data, tmp_path, manifest=early).text
    other = fake_manifest("d", on_demand="def features(x): ...", split=(JUNE, JULY, JULY))
    assert "its on-demand function was another" in compared(registry, fitted, data, tmp_path, manifest=other).text
    narrow = data.split("validation").drop_columns("wind")
    assert (
        "it reads wind, which the dataset no longer has" in compared(registry, fitted, data, tmp_path, rows=narrow).text
    )
    assert compared(registry, fitted, data, tmp_path, rival=None).text.endswith("it is the first version")


def test_rival_of_a_model_without_aliases_is_its_newest_version(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.register("late", tmp_path / "champion", "run-2")
    assert rival_of(registry, "late", promotable=True).version == "1"
    assert rival_of(registry, "late", promotable=False).version == "2"
    assert rival_of(registry, "nobody", promotable=False) is None


def test_model_is_not_applied_to_rows_that_lack_a_column(data: ModelData, tmp_path: Path) -> None:
    model = write_fake_model(tmp_path / "m", Encoding(("delay", "winds"), {}), (0.1, 0.1), name="late", version="3")
    with pytest.raises(UnknownNameError, match=r"late version 3: column 'winds' is not declared. Did you mean 'wind'"):
        apply_model(model, data.split("validation"))
