"""MLflow 3 by its client: a SQLite or other database, or a server's address."""

import json
import logging
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from filelock import FileLock

from mosaic_resources.bentos.model_folder import read_model_folder
from mosaic_resources.errors import DependencyError, missing_extra
from mosaic_resources.mlflow.contract import (
    UI_PORT,
    AliasMovedError,
    DatasetInput,
    ModelVersion,
    RunRequest,
    RunStatus,
)
from mosaic_resources.mlflow.identity import holds_version, name_version
from mosaic_resources.mlflow.package import package
from mosaic_resources.mlflow.relocate import ARTIFACTS_TAG, relocate
from mosaic_resources.telemetry import without_telemetry

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput as MlflowDatasetInput
    from mlflow.entities.model_registry import ModelVersion as MlflowModelVersion

__all__ = ["MlflowRegistry"]

# MLflow is set by its environment alone. Its own defaults retry for minutes.
DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
HEALTH_SECONDS = 5.0
LOCK_SECONDS = 30.0
PARAM_CHARACTERS = 500
MODEL_ID_TAG = "mosaic.model_id"


class MlflowRegistry:
    """Runs and model versions in MLflow.

    Args:
        tracking_uri: ``sqlite:///…/mlflow.db``, another database, or ``http(s)://…``.
    """

    def __init__(self, tracking_uri: str) -> None:
        self.tracking_uri = tracking_uri

    @cached_property
    def client(self) -> "MlflowClient":
        """MLflow's own client, opened on first use.

        Raises:
            DependencyError: MLflow is not installed, or does not answer.
        """
        os.environ.update({**DEFAULTS, **without_telemetry(os.environ)})
        try:
            from mlflow import MlflowClient
        except ImportError as exc:
            raise missing_extra("mlflow", "train") from exc
        for noisy in ("mlflow.store.db.utils", "mlflow.utils.environment", "alembic"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        with self._answers():
            if self._home:
                self._home.mkdir(parents=True, exist_ok=True)
                self.relocate()
            elif self._has_server:
                _check_health(self.tracking_uri)
            client = MlflowClient(self.tracking_uri, self.tracking_uri)
            client.search_experiments(max_results=1)
        return client

    @property
    def exists(self) -> bool:
        """Whether there is anything to ask: a server, or a database that has been written."""
        return self._home is None or (self._home / Path(self.tracking_uri.partition("?")[0]).name).is_file()

    def relocate(self) -> None:
        """Makes a database true whose folder was moved or copied; see ``mosaic_resources.mlflow.relocate``."""
        if self._home:
            relocate(self._home / Path(self.tracking_uri.partition("?")[0]).name, self._home / "artifacts")

    def start_run(self, request: RunRequest) -> str:
        """Opens a run and returns its id."""
        from mlflow.entities import Param, RunTag

        params = [Param(name, str(value)[:PARAM_CHARACTERS]) for name, value in request.params.items()]
        # MLflow drops version 0 of a Delta source, so each version is a tag too.
        versions = {f"delta_version.{item.name}": str(item.version) for item in request.inputs}
        tags = [RunTag(name, value) for name, value in {**request.tags, **versions}.items()]
        with self._answers():
            experiment = self._experiment(request.experiment)
            run_id: str = self.client.create_run(experiment, run_name=request.run_name).info.run_id
            self.client.log_batch(run_id, params=params, tags=tags)
            if request.inputs:
                self.client.log_inputs(run_id, [_dataset(item) for item in request.inputs])
        return run_id

    def log(
        self, run_id: str, points: Sequence[tuple[str, int, float]] = (), files: Mapping[str, bytes] | None = None
    ) -> None:
        """Adds points and files to a run."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, step, value in points]
        with self._answers():
            for start in range(0, len(metrics), 1000):
                self.client.log_batch(run_id, metrics=metrics[start : start + 1000])
            if files:
                self._log_files(run_id, files)

    def end_run(
        self,
        run_id: str,
        status: RunStatus,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Closes a run with its final metrics."""
        from mlflow.entities import Metric, RunTag

        now = int(time.time() * 1000)
        values = [Metric(name, value, now, 0) for name, value in (metrics or {}).items()]
        with self._answers():
            self.client.log_batch(run_id, values, tags=[RunTag(name, value) for name, value in (tags or {}).items()])
            self.client.set_terminated(run_id, status)

    def metrics(self, run_id: str) -> dict[str, float]:
        """Returns the final metrics of a run."""
        with self._answers():
            found = self.client.get_run(run_id).data.metrics
        return {name: float(value) for name, value in found.items() if "/" not in name}

    def run_url(self, run_id: str) -> str:
        """Returns the run's page, on the server or where ``mosaic up`` shows the database."""
        with self._answers():
            experiment = self.client.get_run(run_id).info.experiment_id
        server = self.tracking_uri.rstrip("/") if self._has_server else f"http://127.0.0.1:{UI_PORT}"
        return f"{server}/#/experiments/{experiment}/runs/{run_id}"

    def register(self, name: str, folder: Path, run_id: str, tags: Mapping[str, str] | None = None) -> ModelVersion:
        """Makes a version of a model folder, with signature and input example."""
        model = read_model_folder(folder)
        with self._answers(), tempfile.TemporaryDirectory(prefix="mosaic-model-") as draft:
            experiment = self.client.get_run(run_id).info.experiment_id
            logged = self.client.create_logged_model(experiment, name, run_id)
            package(model, Path(draft) / "model", run_id, logged.model_id)
            self.client.log_model_artifacts(logged.model_id, str(Path(draft) / "model"))
            self.client.finalize_logged_model(logged.model_id, "READY")
            self._ensure_model(name)
            found = self.client.create_model_version(
                name,
                # A database would look "models:/…" up at the process's default address, not at this one.
                source=f"models:/{logged.model_id}" if self._has_server else logged.artifact_location,
                run_id=run_id,
                # The version itself does not say which logged model it is.
                tags={MODEL_ID_TAG: logged.model_id, **(tags or {})},
                model_id=logged.model_id,
            )
        return _model_version(found)

    def find(self, name: str, reference: str) -> ModelVersion | None:
        """Returns the version that an alias or a version number names."""
        with self._answers():
            found = _or_none(
                lambda: (
                    self.client.get_model_version(name, reference)
                    if reference.isdigit()
                    else self.client.get_model_version_by_alias(name, reference)
                )
            )
        return _model_version(found) if found else None

    def models(self) -> list[str]:
        """Returns the names of all registered models."""
        with self._answers():
            found = self.client.search_registered_models()
            names = [model.name for model in found]
            while found.token:
                found = self.client.search_registered_models(page_token=found.token)
                names += [model.name for model in found]
        return sorted(names)

    def versions(self, name: str) -> list[ModelVersion]:
        """Returns all versions of a model, oldest first."""
        quoted = name.replace("'", "''")
        with self._answers():
            numbers = [int(item.version) for item in self.client.search_model_versions(f"name='{quoted}'")]
            # The search leaves the aliases out.
            return [_model_version(self.client.get_model_version(name, str(number))) for number in sorted(numbers)]

    def set_alias(self, name: str, alias: str, version: str | None, expected: str | None) -> None:
        """Moves an alias if it stands where the caller saw it; on one machine no other process comes between."""
        lock = (
            FileLock(self._home / f"{quote(name, safe='')}.{alias}.lock", LOCK_SECONDS) if self._home else nullcontext()
        )
        with lock:
            holder = self.find(name, alias)
            at = holder.version if holder else None
            if at != expected:
                raise AliasMovedError(
                    f"The alias '{alias}' stands at {at or 'none'}, not at {expected or 'none'}.", name, "Decide again."
                )
            with self._answers():
                if version is not None:
                    self.client.set_registered_model_alias(name, alias, version)
                elif at is not None:
                    self.client.delete_registered_model_alias(name, alias)

    def set_tags(self, name: str, version: str, tags: Mapping[str, str]) -> None:
        """Adds tags to a version."""
        with self._answers():
            for key, value in tags.items():
                self.client.set_model_version_tag(name, version, key, value)

    def download(self, model: ModelVersion, folder: Path) -> Path:
        """Returns a folder with the version's files."""
        from mlflow.artifacts import download_artifacts

        if holds_version(folder, model):
            return folder
        with self._answers(), tempfile.TemporaryDirectory(prefix="mosaic-model-") as draft:
            # By place, not as "models:/…", which would be looked up at the process's default address.
            model_id = model.tags.get(MODEL_ID_TAG)
            place = self.client.get_logged_model(model_id).artifact_location if model_id else model.source
            found = download_artifacts(artifact_uri=place, dst_path=draft, tracking_uri=self.tracking_uri)
            shutil.copytree(found, folder, dirs_exist_ok=True)
        # Last, so that a folder which names its version is complete.
        name_version(folder, model)
        return folder

    @property
    def _home(self) -> Path | None:
        """Folder of a SQLite database; artifacts and locks lie beside it."""
        scheme, _, path = self.tracking_uri.partition(":///")
        return Path(path.partition("?")[0]).absolute().parent if scheme == "sqlite" else None

    @property
    def _has_server(self) -> bool:
        return self.tracking_uri.startswith(("http://", "https://"))

    def _experiment(self, name: str) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        # Without this, artifacts of a database without a server land in ./mlruns of whoever runs.
        root = (self._home / "artifacts").as_uri() if self._home else None
        place, tags = (f"{root}/{quote(name, safe='')}", {ARTIFACTS_TAG: root}) if root else (None, {})
        return str(self.client.create_experiment(name, artifact_location=place, tags=tags))

    def _ensure_model(self, name: str) -> None:
        if _or_none(lambda: self.client.get_registered_model(name)) is None:
            self.client.create_registered_model(name)

    def _log_files(self, run_id: str, files: Mapping[str, bytes]) -> None:
        with tempfile.TemporaryDirectory(prefix="mosaic-run-") as draft:
            for path, content in files.items():
                file = Path(draft) / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            self.client.log_artifacts(run_id, draft)

    @contextmanager
    def _answers(self) -> Iterator[None]:
        """Turns what MLflow and the libraries below it raise into one error that says where."""
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (MlflowException, OSError, SQLAlchemyError, sqlite3.Error) as exc:  # requests' errors are OSErrors
            reason = str(exc).splitlines()[0]
            raise DependencyError(
                f"MLflow does not do what was asked: {reason}", self.tracking_uri, "Is it running?"
            ) from exc


def _check_health(address: str) -> None:
    import httpx

    try:
        httpx.get(f"{address.rstrip('/')}/health", timeout=HEALTH_SECONDS).raise_for_status()
    except httpx.HTTPError as exc:
        raise DependencyError(f"MLflow does not answer: {exc}.", address, "Start it, or correct the address.") from exc


def _or_none(read: Any) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return read()
    except MlflowException as exc:
        if exc.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _dataset(item: DatasetInput) -> "MlflowDatasetInput":
    from mlflow.entities import Dataset, InputTag
    from mlflow.entities import DatasetInput as MlflowDatasetInput

    dataset = Dataset(
        name=item.name,
        digest=item.digest[:36],
        source_type="delta_table",
        source=json.dumps({"path": item.uri, "delta_table_version": item.version}),
        profile=json.dumps({"num_rows": item.num_rows}),
    )
    return MlflowDatasetInput(dataset, [InputTag("mlflow.data.context", item.context)])


def _model_version(found: "MlflowModelVersion") -> ModelVersion:
    return ModelVersion(
        found.name,
        str(found.version),
        found.run_id or "",
        dict(found.tags or {}),
        tuple(sorted(found.aliases or ())),
        found.source or "",
    )
