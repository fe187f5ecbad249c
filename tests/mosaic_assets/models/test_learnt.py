"""Until when a version has learnt."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mosaic_assets.datasets.fake import fake_manifest
from mosaic_assets.models.learnt import learnt_by_version, learnt_until, manifest_of_version, validation_start
from mosaic_resources.errors import UserError
from mosaic_resources.mlflow.contract import ModelVersion
from mosaic_resources.mlflow.fake import FakeRegistry

JUNE, JULY = "2013-06-01T00:00:00+00:00", "2013-07-01T00:00:00+00:00"
AUGUST = "2013-08-01T00:00:00+00:00"


def test_version_has_learnt_until_the_end_of_what_it_was_tuned_on(tmp_path: Path) -> None:
    manifests = [
        fake_manifest("d", split=(JUNE, JULY, AUGUST)),
        fake_manifest("e", split=(JULY, AUGUST, AUGUST)),
        fake_manifest("d", query="never saved", split=(JULY, AUGUST, AUGUST)),
    ]
    for manifest in manifests[:2]:
        manifest.save(tmp_path)
    registry = FakeRegistry(tmp_path / "registry")
    versions = [ModelVersion("late", str(n), "r", {"manifest_id": one.id}) for n, one in enumerate(manifests, 1)]
    registry._versions["late"] = [*versions, ModelVersion("late", "4", "r")]
    ends = {"1": datetime(2013, 7, 1, tzinfo=UTC), "2": datetime(2013, 8, 1, tzinfo=UTC)}
    assert learnt_by_version(registry, tmp_path, "late") == ends
    assert learnt_by_version(registry, tmp_path, "nobody") == {}
    assert learnt_until(manifest_of_version(tmp_path, versions[0])) == ends["1"]
    assert validation_start(manifests[0]) == datetime(2013, 6, 1, tzinfo=UTC)
    spread = fake_manifest("d", cutoff_utc=AUGUST, splitting={"shares": [0.8, 0.2, 0.0], "seed": 17})
    folds = fake_manifest("d", split=(JUNE, JULY, AUGUST), splitting={"n_splits": 3})
    assert [learnt_until(spread), learnt_until(folds)] == [ends["2"], ends["1"]]
    assert {validation_start(one).year for one in (spread, folds)} == {1}
    for lost in (versions[2], ModelVersion("late", "4", "r")):
        with pytest.raises(UserError, match=rf"No manifest of late version {lost.version} is kept"):
            manifest_of_version(tmp_path, lost)
