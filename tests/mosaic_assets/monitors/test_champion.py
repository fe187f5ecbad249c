"""From the champion in the registry to the table version of its rows."""

import pytest

from mosaic_assets.datasets.fake import fake_manifest
from mosaic_assets.monitors.champion import champion_dataset
from mosaic_resources.errors import UserError
from mosaic_resources.mlflow.contract import CHAMPION, ModelVersion
from mosaic_resources.mlflow.fake import FakeRegistry
from mosaic_resources.settings.settings import load_settings


def manifest(table_version):
    return fake_manifest("tiny", table_version=table_version)


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n[tool.dg]\n")
    return load_settings(tmp_path)


def registered(tmp_path, *, aliases=(CHAMPION,), made=None):
    registry = FakeRegistry(tmp_path / "registry")
    tags = {"manifest_id": made.id} if made else {}
    registry._versions["delay"] = [ModelVersion("delay", "3", "run", tags, aliases)]
    return registry


def test_champion_leads_to_its_rows(tmp_path, settings):
    made = manifest(table_version=7)
    made.save(settings.state / "manifests")
    registry = registered(tmp_path, made=made)
    assert champion_dataset(registry, settings, "delay", "datasets/tiny") == (made.id, "3", 7)


def test_missing_links_are_named(tmp_path, settings):
    with pytest.raises(UserError, match="'delay' has no champion"):
        champion_dataset(registered(tmp_path, aliases=()), settings, "delay", "datasets/tiny")
    made = manifest(table_version=None)
    with pytest.raises(UserError, match="The manifest does not exist"):
        champion_dataset(registered(tmp_path, made=made), settings, "delay", "datasets/tiny")
    made.save(settings.state / "manifests")
    with pytest.raises(UserError, match="names no version of its table"):
        champion_dataset(registered(tmp_path, made=made), settings, "delay", "datasets/tiny")
