"""A registry in memory, for tests and notebooks."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mosaic_resources.bentos.model_folder import read_model_folder
from mosaic_resources.errors import UnknownNameError
from mosaic_resources.mlflow.contract import AliasMovedError, ModelVersion, RunRequest, RunStatus
from mosaic_resources.mlflow.identity import name_version

__all__ = ["FakeRegistry", "FakeRun"]


@dataclass
class FakeRun:
    """What a run was told."""

    request: RunRequest
    points: list[tuple[str, int, float]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    status: str = "RUNNING"


class FakeRegistry:
    """Keeps runs in a dict and the files of versions in a folder.

    Args:
        root: Folder for the files.
    """

    def __init__(self, root: Path) -> None:
        self.runs: dict[str, FakeRun] = {}
        self._root, self._versions = root, dict[str, list[ModelVersion]]()

    @property
    def exists(self) -> bool:
        """Whether anything was ever written."""
        return bool(self.runs)

    def start_run(self, request: RunRequest) -> str:
        """Opens a run."""
        run_id = f"run-{len(self.runs) + 1}"
        self.runs[run_id] = FakeRun(request, tags=dict(request.tags))
        return run_id

    def log(
        self, run_id: str, points: Sequence[tuple[str, int, float]] = (), files: Mapping[str, bytes] | None = None
    ) -> None:
        """Keeps points and files."""
        self.runs[run_id].points += [tuple(point) for point in points]  # type: ignore[misc]
        self.runs[run_id].files |= files or {}

    def end_run(
        self,
        run_id: str,
        status: RunStatus,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Closes a run."""
        run = self.runs[run_id]
        run.status = status
        run.metrics |= metrics or {}
        run.tags |= tags or {}

    def metrics(self, run_id: str) -> dict[str, float]:
        """Returns the final metrics of a run."""
        return dict(self.runs[run_id].metrics)

    def run_url(self, run_id: str) -> str:
        """Returns an address of the run."""
        return f"memory://{run_id}"

    def register(self, name: str, folder: Path, run_id: str, tags: Mapping[str, str] | None = None) -> ModelVersion:
        """Copies a model folder."""
        read_model_folder(folder)
        kept = self._versions.setdefault(name, [])
        version = str(len(kept) + 1)
        target = self._root / name / version
        shutil.copytree(folder, target)
        kept.append(ModelVersion(name, version, run_id, dict(tags or {}), (), str(target)))
        return kept[-1]

    def find(self, name: str, reference: str) -> ModelVersion | None:
        """Returns a version by alias or number."""
        for model in self.versions(name):
            if reference == model.version or reference in model.aliases:
                return model
        return None

    def models(self) -> list[str]:
        """Returns the names of all models."""
        return sorted(self._versions)

    def versions(self, name: str) -> list[ModelVersion]:
        """Returns all versions, oldest first."""
        return list(self._versions.get(name, []))

    def set_alias(self, name: str, alias: str, version: str | None, expected: str | None) -> None:
        """Moves an alias if it stands where the caller saw it."""
        holder = self.find(name, alias)
        if (holder.version if holder else None) != expected:
            raise AliasMovedError(
                f"The alias '{alias}' stands at {holder.version if holder else 'none'}, not {expected}.", name
            )
        if version is not None:
            self._known(name, version)
        for model in self.versions(name):
            aliases = {alias} if model.version == version else set()
            self._put(replace(model, aliases=tuple(sorted((set(model.aliases) - {alias}) | aliases))))

    def set_tags(self, name: str, version: str, tags: Mapping[str, str]) -> None:
        """Adds tags."""
        model = self._known(name, version)
        self._put(replace(model, tags={**model.tags, **tags}))

    def download(self, model: ModelVersion, folder: Path) -> Path:
        """Copies a version's files."""
        shutil.copytree(model.source, folder, dirs_exist_ok=True)
        name_version(folder, model)
        return folder

    def _known(self, name: str, version: str) -> ModelVersion:
        for model in self.versions(name):
            if model.version == version:
                return model
        raise UnknownNameError(f"version of '{name}'", version, [model.version for model in self.versions(name)])

    def _put(self, model: ModelVersion) -> None:
        self._versions[model.name][int(model.version) - 1] = model
