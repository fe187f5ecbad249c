"""One suite over both registries: MLflow on SQLite and the fake that ships."""

import inspect
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from mosaic_assets.cli.up import up
from mosaic_resources.bentos.encoding import Encoding
from mosaic_resources.bentos.fake import write_fake_model
from mosaic_resources.bentos.model_folder import read_model_folder
from mosaic_resources.errors import DependencyError, MosaicError, UserError
from mosaic_resources.mlflow.client import MlflowRegistry
from mosaic_resources.mlflow.contract import AliasMovedError, DatasetInput, Registry, RunRequest
from mosaic_resources.mlflow.fake import FakeRegistry
from mosaic_resources.mlflow.relocate import relocate

REQUEST = RunRequest(
    "late", "first", {"lr": 0.1, "long": "x" * 900}, {"asset": "models/late"},
    [DatasetInput("datasets/d", "file:///lake/datasets/d", 0, "digest", 10)],
)  # fmt: skip


@pytest.fixture(scope="module")
def mlflow_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow") / "deep"


@pytest.fixture(params=["mlflow", "fake"])
def registry(request: pytest.FixtureRequest, mlflow_home: Path, tmp_path: Path) -> Registry:
    if request.param == "fake":
        return FakeRegistry(tmp_path / "registry")
    return MlflowRegistry(f"sqlite:///{mlflow_home}/mlflow.db")


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return request.node.name.replace("[", "_").replace("]", "")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    write_fake_model(folder, Encoding(("delay",), {"carrier": ("AA",)}), (0.1, 0.2), version="unregistered")
    return folder


def registered(registry: Registry, name: str, model: Path, count: int) -> None:
    run_id = registry.start_run(REQUEST)
    for _ in range(count):
        registry.register(name, model, run_id, {"manifest_id": "m"})


def test_versions_are_counted_and_found(registry: Registry, name: str, model: Path) -> None:
    assert registry.versions(name) == []
    assert registry.find(name, "champion") is None
    registered(registry, name, model, 11)
    assert [version.version for version in registry.versions(name)] == [str(number) for number in range(1, 12)]
    found = registry.find(name, "11")
    assert found is not None
    assert found.tags["manifest_id"] == "m"
    assert found.uri == f"models:/{name}/11"
    assert registry.find(name, "12") is None
    assert registry.find(name, "nobody") is None


def test_download_names_the_version(registry: Registry, name: str, model: Path, tmp_path: Path) -> None:
    registered(registry, name, model, 2)
    version = registry.find(name, "2")
    assert version is not None
    folder = registry.download(version, tmp_path / "state" / "models")
    identity = read_model_folder(folder).identity
    assert (identity.registered_model_name, identity.version, identity.run_id) == (name, "2", version.run_id)
    assert (folder / "model.onnx").read_bytes()
    # What is there already is not fetched again.
    (folder / "note").write_text("mine")
    registry.download(version, folder)
    assert (folder / "note").exists()


def test_half_a_download_is_fetched_again(registry: Registry, name: str, model: Path, tmp_path: Path) -> None:
    registered(registry, name, model, 1)
    version = registry.find(name, "1")
    assert version is not None
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "model.json").write_text("{")
    assert read_model_folder(registry.download(version, tmp_path / "half")).identity.version == "1"


def test_models_are_named(registry: Registry, name: str, model: Path) -> None:
    assert name not in registry.models()
    registry.register(name, model, registry.start_run(REQUEST))
    assert name in registry.models()


def test_alias_moves_only_from_where_it_was_seen(registry: Registry, name: str, model: Path) -> None:
    registered(registry, name, model, 3)
    registry.set_alias(name, "champion", "1", None)
    with pytest.raises(AliasMovedError, match="'champion' stands at 1, not"):
        registry.set_alias(name, "champion", "2", None)
    registry.set_alias(name, "champion", "3", "1")
    with pytest.raises(AliasMovedError):
        registry.set_alias(name, "champion", "2", "1")
    assert [version.aliases for version in registry.versions(name)] == [(), (), ("champion",)]
    registry.set_alias(name, "challenger", "3", None)
    found = registry.find(name, "challenger")
    assert found is not None
    assert found.aliases == ("challenger", "champion")
    registry.set_alias(name, "challenger", None, "3")
    assert registry.find(name, "challenger") is None
    with pytest.raises(MosaicError):
        registry.set_alias(name, "champion", "99", "3")


def test_tags_are_added(registry: Registry, name: str, model: Path) -> None:
    registered(registry, name, model, 1)
    registry.set_tags(name, "1", {"decision": "kept", "why": "too few rows"})
    found = registry.find(name, "1")
    assert found is not None
    assert {"manifest_id", "decision", "why"} <= set(found.tags)


def test_folder_without_a_model_is_refused(registry: Registry, name: str, tmp_path: Path) -> None:
    run_id = registry.start_run(REQUEST)
    with pytest.raises(UserError, match=r"The model folder has no 'model.onnx'"):
        registry.register(name, tmp_path, run_id)


# MLflow's own side


@pytest.fixture
def mlflow(mlflow_home: Path) -> MlflowRegistry:
    return MlflowRegistry(f"sqlite:///{mlflow_home}/mlflow.db")


def test_run_of_a_database_has_its_page_where_mosaic_up_shows_it(mlflow: MlflowRegistry) -> None:
    run_id = mlflow.start_run(RunRequest("linked", "first"))
    experiment = mlflow.client.get_run(run_id).info.experiment_id
    default = inspect.signature(up).parameters["mlflow_port"].default
    assert mlflow.run_url(run_id) == f"http://127.0.0.1:{default}/#/experiments/{experiment}/runs/{run_id}"


def test_run_holds_what_it_was_told(mlflow: MlflowRegistry, mlflow_home: Path) -> None:
    run_id = mlflow.start_run(REQUEST)
    points = [("loss", step, 1.0 / (step + 1)) for step in range(1500)]
    mlflow.log(run_id, points, {"plots/roc.png": b"png", "card.md": b"# card"})
    mlflow.end_run(run_id, "FINISHED", {"roc_auc": 0.8}, {"alias": "champion"})
    run = mlflow.client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["lr"] == "0.1"
    assert len(run.data.params["long"]) == 500
    assert run.data.metrics["roc_auc"] == 0.8
    assert run.data.tags["alias"] == "champion"
    # MLflow itself takes version 0 of a Delta source for none.
    assert run.data.tags["delta_version.datasets/d"] == "0"
    assert '"delta_table_version": 0' in run.inputs.dataset_inputs[0].dataset.source
    assert len(mlflow.client.get_metric_history(run_id, "loss")) == 1500
    assert {file.path for file in mlflow.client.list_artifacts(run_id)} == {"plots", "card.md"}
    assert (mlflow_home / "artifacts" / "late").is_dir()


def test_version_has_signature_and_example_and_loads_by_alias(
    mlflow: MlflowRegistry, name: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow as library

    registered(mlflow, name, model, 1)
    mlflow.set_alias(name, "champion", "1", None)
    library.set_tracking_uri(mlflow.tracking_uri)
    loaded = library.pyfunc.load_model(f"models:/{name}@champion")
    assert [item.name for item in loaded.metadata.get_input_schema().inputs] == ["numeric", "categorical"]
    answer = loaded.predict({"numeric": np.zeros((3, 1), np.float32), "categorical": np.zeros((3, 1), np.int64)})
    assert answer["probability"].shape == (3,)
    assert loaded.metadata.saved_input_example_info is not None


def test_uploaded_files_hold_no_pickle(mlflow: MlflowRegistry, name: str, model: Path, tmp_path: Path) -> None:
    registered(mlflow, name, model, 1)
    version = mlflow.find(name, "1")
    assert version is not None
    names = {file.name for file in mlflow.download(version, tmp_path / "there").rglob("*")}
    assert {"MLmodel", "model.onnx", "encoding.json", "model.json"} <= names
    assert not [file for file in names if file.endswith((".pkl", ".pickle", ".joblib", ".pt", ".pth"))]


def test_nothing_lands_in_the_working_folder(
    mlflow_home: Path, name: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    registry = MlflowRegistry(f"sqlite:///{mlflow_home}/mlflow.db")
    registered(registry, name, model, 1)
    version = registry.find(name, "1")
    assert version is not None
    registry.download(version, tmp_path / "there")
    assert list((tmp_path / "cwd").iterdir()) == []


@pytest.mark.parametrize("way", [shutil.copytree, shutil.move])
def test_folder_that_was_copied_or_moved_keeps_to_itself(
    name: str, model: Path, tmp_path: Path, way: Callable[..., object]
) -> None:
    first = MlflowRegistry(f"sqlite:///{tmp_path}/one two/mlflow/mlflow.db")
    registered(first, name, model, 1)
    theirs = first.client.create_experiment("theirs", artifact_location="file:///elsewhere/artifacts/theirs")
    way(tmp_path / "one two", tmp_path / "three_4")
    before = sorted((tmp_path / "one two").rglob("*"))
    second = MlflowRegistry(f"sqlite:///{tmp_path}/three_4/mlflow/mlflow.db")
    version = second.find(name, "1")
    assert version is not None
    assert second.download(version, tmp_path / "there").joinpath("model.onnx").is_file()
    second.log(version.run_id, files={"late.txt": b"late"})
    registered(second, name, model, 1)
    again = second.find(name, "2")
    assert again is not None
    assert second.download(again, tmp_path / "again").joinpath("model.onnx").is_file()
    assert sorted((tmp_path / "one two").rglob("*")) == before
    assert list((tmp_path / "three_4").rglob("late.txt"))
    assert second.client.get_experiment(theirs).artifact_location == "file:///elsewhere/artifacts/theirs"
    with closing(sqlite3.connect(tmp_path / "three_4" / "mlflow" / "mlflow.db")) as connection:
        assert not [line for line in connection.iterdump() if "one%20two" in line]


def test_folder_under_another_name_of_its_path_is_left_alone(name: str, model: Path, tmp_path: Path) -> None:
    registered(MlflowRegistry(f"sqlite:///{tmp_path}/one/mlflow.db"), name, model, 1)
    (tmp_path / "link").symlink_to(tmp_path / "one")
    assert relocate(tmp_path / "link" / "mlflow.db", tmp_path / "link" / "artifacts") == []
    assert relocate(tmp_path / "none" / "mlflow.db", tmp_path / "none" / "artifacts") == []


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "sqlite:////proc/none/mlflow.db", "nonsense://there"])
def test_dead_mlflow_is_one_typed_error_within_seconds(address: str) -> None:
    began = time.monotonic()
    with pytest.raises(DependencyError, match="MLflow"):
        MlflowRegistry(address).start_run(REQUEST)
    assert time.monotonic() - began < 15


def test_silent_server_is_given_up(unused_server: str) -> None:
    began = time.monotonic()
    with pytest.raises(DependencyError, match="MLflow does not answer"):
        MlflowRegistry(unused_server).find("late", "champion")
    assert time.monotonic() - began < 15


@pytest.fixture
def unused_server():
    """A socket that takes connections and never says a word."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
