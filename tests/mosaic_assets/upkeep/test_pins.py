"""What pins a version: registered models, the newest dataset, youth."""

import os
from datetime import UTC, datetime, timedelta

import pytest

from mosaic_assets.datasets.fake import fake_manifest
from mosaic_assets.upkeep.pins import find_pins
from mosaic_resources.errors import UserError
from mosaic_resources.mlflow.contract import ModelVersion

NOW = datetime.now(UTC)


def save(folder, dataset, query, age_days, **named):
    manifest = fake_manifest(dataset, query=query, **named)
    file = manifest.save(folder)
    at = (NOW - timedelta(days=age_days)).timestamp()
    os.utime(file, (at, at))
    return manifest


def model(manifest_id, version="1"):
    return ModelVersion("delay", version, "run", {"manifest_id": manifest_id} if manifest_id else {})


def test_a_manifest_lives_while_a_model_names_it_or_it_is_newest_or_young(tmp_path):
    named = save(tmp_path, "d", "a", 90, tables={"tables/x": 3, "features/v": 1}, table_version=2)
    forgotten = save(tmp_path, "d", "b", 80, tables={"tables/x": 4})
    young = save(tmp_path, "d", "c", 2, tables={"tables/x": 5})
    newest = save(tmp_path, "d", "d", 1, tables={"tables/x": 5})
    lonely = save(tmp_path, "e", "e", 300, tables={"tables/y": 7})
    pins = find_pins(tmp_path, [model(named.id), model(named.id, "2"), model(None, "3")], NOW - timedelta(days=7))
    assert pins.of("tables/x") == {
        3: [f"manifest d-{named.id} (model delay 1, delay 2)"],
        5: [f"manifest d-{young.id} (young)", f"manifest d-{newest.id} (newest of its dataset)"],
    }
    assert list(pins.of("features/v")) == [1]
    assert pins.of("datasets/d") == {2: [f"manifest d-{named.id} (model delay 1, delay 2)"]}
    assert pins.of("tables/y") == {7: [f"manifest e-{lonely.id} (newest of its dataset)"]}
    assert pins.of("tables/other") == {}
    assert pins.released == [f"d-{forgotten.id}"]


def test_a_model_whose_manifest_is_not_here_stops_everything_unless_told_otherwise(tmp_path):
    with pytest.raises(UserError, match="The model delay 1 names the manifest abc, which is not here"):
        find_pins(tmp_path / "none", [model("abc")], NOW)
    assert find_pins(tmp_path / "none", [model("abc")], NOW, "ignore").tables == {}


def test_a_damaged_manifest_stops_everything(tmp_path):
    (tmp_path / "d-1.json").write_text("{")
    with pytest.raises(UserError, match="This is no dataset manifest"):
        find_pins(tmp_path, [], NOW)
