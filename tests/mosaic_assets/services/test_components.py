"""Service, inference table and batch predictions from their own YAML, materialized for real."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import httpx
import pyarrow as pa
import pytest
from dagster.components.testing import create_defs_folder_sandbox

from mosaic_assets.datasets.fake import fake_manifest
from mosaic_assets.services.endpoints import start_built
from mosaic_resources.bentos import process
from mosaic_resources.bentos.encoding import Encoding
from mosaic_resources.bentos.fake import write_fake_model
from mosaic_resources.delta.commit import Commit
from mosaic_resources.mlflow.fake import FakeRegistry
from mosaic_resources.seams import Seams
from mosaic_resources.settings.settings import load_settings

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)
ON_DEMAND = "def features(inputs):\n    return {'twice': inputs['aircraft__delay'] * 2}\n"
DEFS = """
type: mosaic_assets.features.EntityComponent
attributes: {name: aircraft, join_keys: [tailnum]}
---
type: mosaic_assets.features.FeatureViewComponent
attributes:
  name: aircraft
  entities: [aircraft]
  sql: aircraft.sql
  created_timestamp_column: known_ts
  schema: {delay: float64}
---
type: mosaic_assets.features.FeatureServiceComponent
attributes: {name: delays, features: ["aircraft:*"]}
---
type: mosaic_assets.datasets.DatasetComponent
attributes:
  name: delays
  sql: rows.sql
  feature_service: delays
  entity_key: [flight_id]
  timestamp_field: asked_at
  label: late
  label_known_field: asked_at
  request: {tailnum: string}
  on_demand: on_demand.py
---
type: mosaic_assets.services.ServiceComponent
attributes:
  name: flights
  dataset: delays
  registered_model_name: late
  alias: champion
  on_log_failure: answer
  deps: [models/late]
---
type: mosaic_assets.predictions.InferenceTableComponent
attributes: {service: flights, remove_drained: true}
---
type: mosaic_assets.predictions.BatchPredictionComponent
attributes:
  name: flights
  sql: rows.sql
  partition_by: month
  dataset: delays
  registered_model_name: late
  versions: [champion, newest, challenger]
  deps: [models/late]
  partitions_def: {type: monthly, start_date: 2013-06}
"""


@pytest.fixture(scope="module")
def definitions() -> Iterator[dg.Definitions]:
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.defs_folder_path / "story"
        folder.mkdir(parents=True)
        (folder / "defs.yaml").write_text(DEFS)
        (folder / "aircraft.sql").write_text("select * from tables.events")
        (folder / "rows.sql").write_text(
            "select * from tables.flights where month between :partition_key_start and :partition_key_end"
        )
        (folder / "on_demand.py").write_text(ON_DEMAND)
        with sandbox.build_all_defs() as built:
            yield built


@pytest.fixture
def seams(tmp_path: Path, engine: Any) -> Iterator[Seams]:
    (tmp_path / "pyproject.toml").write_text("[tool.dg]\n")
    shutil.copy(Path(__file__).parents[3] / "requirements.lock", tmp_path)
    seams = Seams(load_settings(tmp_path, environ={}))
    seams.__dict__ |= {"registry": FakeRegistry(tmp_path / "registry"), "engine": engine}
    times = pa.array([NOON - timedelta(hours=2), NOON - timedelta(days=20)], pa.timestamp("us", tz="UTC"))
    events = pa.table({"tailnum": ["N1", "N1"], "event_ts": times, "known_ts": times, "delay": [3.0, 1.0]})
    flights = {"flight_id": ["a", "b"], "tailnum": ["N1", "N2"], "month": ["2013-07", "2013-07"], "late": [1, 0]}
    asked = pa.array([NOON, NOON], pa.timestamp("us", tz="UTC"))
    seams.lake.write("features/aircraft", events, Commit("test"))
    seams.lake.write("tables/flights", pa.table({**flights, "asked_at": asked}), Commit("test"))
    yield seams
    process.stop(seams.settings.state, "flights")


def promote(seams: Seams, tmp_path: Path, bias: float) -> None:
    manifest = fake_manifest("delays", on_demand=ON_DEMAND, cutoff_utc=NOON.isoformat())
    manifest.save(seams.settings.state / "manifests")
    folder = tmp_path / f"trained-{bias}"
    model = write_fake_model(folder, Encoding(("aircraft__delay", "twice"), {}), (0.1, 0.1), bias=bias, name="late")
    identity = json.loads((model.path / "model.json").read_text()) | {"manifest_id": manifest.id}
    (model.path / "model.json").write_text(json.dumps(identity))
    before = seams.registry.find("late", "champion")
    version = seams.registry.register("late", folder, "run-1").version
    seams.registry.set_alias("late", "champion", version, before.version if before else None)


def materialize(definitions: dg.Definitions, seams: Seams, key: str, partition: str | None = None) -> dict[str, Any]:
    assets = [asset for asset in definitions.assets or [] if isinstance(asset, dg.AssetsDefinition)]
    result = dg.materialize(
        assets, selection=[key], partition_key=partition, resources={"mosaic": SimpleNamespace(seams=seams)}
    )
    (event,) = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_service_is_built_served_switched_logged_and_drained(
    definitions: dg.Definitions, seams: Seams, tmp_path: Path
) -> None:
    promote(seams, tmp_path, 0.0)
    materialize(definitions, seams, "online/delays")
    made = materialize(definitions, seams, "services/flights")
    assert made["model"] == "models:/late/1"
    assert materialize(definitions, seams, "predictions/flights_requests")["new_rows"] == 0
    endpoint = start_built(seams.settings, "flights", simulated_clock=True)
    assert made["endpoint"] == f"{endpoint.url}/v1/model"  # told before it ran
    assert made["endpoint_state"] == "does not run; start it with: mosaic serve flights"

    def ask() -> dict[str, Any]:
        headers = {"x-mosaic-time": NOON.isoformat()}
        answer = httpx.post(f"{endpoint.url}/v1/predict", json={"tailnum": "N1"}, headers=headers, trust_env=False)
        return answer.json()  # type: ignore[no-any-return]

    first = ask()
    promote(seams, tmp_path, 9.0)
    again = materialize(definitions, seams, "services/flights")
    assert (again["endpoint"], again["endpoint_state"]) == (made["endpoint"], "answers")
    second = ask()
    assert (first["model_version"], second["model_version"]) == ("1", "2")
    drained = materialize(definitions, seams, "predictions/flights_requests")
    assert drained["new_rows"] == drained["dagster/row_count"] == 2
    rows = seams.lake.read("predictions/flights_requests")
    assert rows["request_id"].to_pylist() == [first["request_id"], second["request_id"]]
    assert set(rows["date"].to_pylist()) == {"2013-07-01"}


def test_batch_is_scored_by_partition_with_its_features(
    definitions: dg.Definitions, seams: Seams, tmp_path: Path
) -> None:
    promote(seams, tmp_path, 0.0)
    for _ in range(2):  # The second run replaces the partition.
        made = materialize(definitions, seams, "predictions/flights", "2013-07")
    rows = seams.lake.read("predictions/flights").sort_by("flight_id").to_pylist()
    assert made["rows_written"] == len(rows) == 2
    assert (rows[0]["aircraft__delay"], rows[0]["twice"]) == (3.0, 6.0)
    assert rows[0]["probability"] == pytest.approx(1 / (1 + 2.718281828**-0.9), rel=1e-6)
    assert rows[1]["aircraft__delay"] is None
    versions = {name: seams.lake.version(name) for name in ("features/aircraft", "tables/flights")}
    assert json.loads(rows[0]["data_versions"]) == versions
    assert rows[0]["model_version"] == "1"
    registry = seams.registry
    registry.register("late", tmp_path / "trained-0.0", "run-2")
    both = materialize(definitions, seams, "predictions/flights", "2013-07")
    assert (both["model_versions"], both["rows_written"]) == ("1, 2", 4)


def test_online_and_batch_give_the_same_probability(definitions: dg.Definitions, seams: Seams, tmp_path: Path) -> None:
    promote(seams, tmp_path, 0.25)
    materialize(definitions, seams, "online/delays")
    materialize(definitions, seams, "services/flights")
    materialize(definitions, seams, "predictions/flights", "2013-07")
    endpoint = start_built(seams.settings, "flights", simulated_clock=True)
    rows = seams.lake.read("predictions/flights").sort_by("flight_id")
    body = [{"tailnum": name} for name in rows["tailnum"].to_pylist()]
    headers = {"x-mosaic-time": NOON.isoformat()}
    answer = httpx.post(f"{endpoint.url}/v1/predict", json=body, headers=headers, trust_env=False).json()
    assert [p["probability"] for p in answer["predictions"]] == rows["probability"].to_pylist()


def test_service_without_a_champion_says_what_to_do(definitions: dg.Definitions, seams: Seams) -> None:
    with pytest.raises(Exception, match="'late' has no champion"):
        materialize(definitions, seams, "services/flights")


def test_dependencies_are_the_upstream_assets(definitions: dg.Definitions) -> None:
    assets = [asset for asset in definitions.assets or [] if isinstance(asset, dg.AssetsDefinition)]

    def parents(key: str) -> set[str]:
        (asset,) = (asset for asset in assets if asset.key.to_user_string() == key)
        return {parent.to_user_string() for parent in asset.asset_deps[asset.key]}

    assert parents("services/flights") == {"models/late", "online/delays"}
    assert parents("predictions/flights_requests") == {"services/flights", "features/aircraft"}
    assert parents("predictions/flights") == {"models/late", "tables/flights", "features/aircraft"}
