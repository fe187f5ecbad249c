"""What tracking and registry must do; what they speak of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from mosaic_resources.errors import UserError

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "UI_PORT",
    "AliasMovedError",
    "DatasetInput",
    "ModelVersion",
    "Registry",
    "RunRequest",
    "Tracker",
]

UI_PORT = 5000  # where "mosaic up" shows a database without a server
CHAMPION = "champion"
CHALLENGER = "challenger"
RunStatus = Literal["FINISHED", "FAILED", "KILLED"]


class AliasMovedError(UserError):
    """Someone else moved the alias first; decide again."""


@dataclass(frozen=True)
class DatasetInput:
    """A pinned table that a run reads.

    Args:
        name: Table.
        uri: Its address.
        version: Delta version.
        digest: Short hash of the rows or of the manifest.
        num_rows: Rows that were read.
        context: What for: ``training``, ``validation`` …
    """

    name: str
    uri: str
    version: int
    digest: str
    num_rows: int
    context: str = "training"


@dataclass(frozen=True)
class RunRequest:
    """What a run is called and what it starts from.

    Args:
        experiment: Experiment; one for each registered model.
        run_name: Name of the run.
        params: Parameter → value; long values are cut by the tracker.
        tags: Tag → value.
        inputs: Tables that it reads.
    """

    experiment: str
    run_name: str
    params: Mapping[str, object] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    inputs: Sequence[DatasetInput] = ()


@dataclass(frozen=True)
class ModelVersion:
    """One version of a registered model.

    Args:
        name: Registered model.
        version: Version, counted by the registry.
        run_id: Run that made it.
        tags: Tag → value.
        aliases: Names that point to it.
        source: Where its files lie.
    """

    name: str
    version: str
    run_id: str
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    source: str = ""

    @property
    def uri(self) -> str:
        """The address by which MLflow's own tools load it."""
        return f"models:/{self.name}/{self.version}"


class Tracker(Protocol):
    """Keeps what a run was given and what it reached."""

    def start_run(self, request: RunRequest) -> str:
        """Opens a run and returns its id.

        Raises:
            DependencyError: The tracking server or database does not answer, within a bounded wait.
        """
        ...

    def log(
        self, run_id: str, points: Sequence[tuple[str, int, float]] = (), files: Mapping[str, bytes] | None = None
    ) -> None:
        """Adds points of curves (name, step, value) and files (path → content)."""
        ...

    def end_run(
        self,
        run_id: str,
        status: RunStatus,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Closes a run with its final metrics."""
        ...

    def metrics(self, run_id: str) -> dict[str, float]:
        """Returns the final metrics of a run: those that are no point of a curve (``part/…``)."""
        ...

    def run_url(self, run_id: str) -> str:
        """Returns the address of the run's page; of a database, the one that it has under ``mosaic up``."""
        ...


class Registry(Tracker, Protocol):
    """A tracker that also keeps versions of models. No stages: aliases."""

    @property
    def exists(self) -> bool:
        """Whether there is anything to ask; False for a database file that nobody has written yet. Opens nothing."""
        ...

    def register(self, name: str, folder: Path, run_id: str, tags: Mapping[str, str] | None = None) -> ModelVersion:
        """Makes a new version of a model of the files in a model folder.

        Raises:
            UserError: The folder is no model folder.
            DependencyError: The registry does not answer.
        """
        ...

    def find(self, name: str, reference: str) -> ModelVersion | None:
        """Returns the version that an alias or a version number names; None where there is none."""
        ...

    def models(self) -> list[str]:
        """Returns the names of all registered models.

        Raises:
            DependencyError: The registry does not answer.
        """
        ...

    def versions(self, name: str) -> list[ModelVersion]:
        """Returns all versions of a model, oldest first; none for an unknown model."""
        ...

    def set_alias(self, name: str, alias: str, version: str | None, expected: str | None) -> None:
        """Moves an alias to a version, or away (None), if it still stands where the caller saw it.

        Args:
            name: Registered model.
            alias: ``champion`` or ``challenger``.
            version: Where it shall stand.
            expected: Version where it stood when the caller decided; None: nowhere.

        Raises:
            AliasMovedError: It stands elsewhere by now.
        """
        ...

    def set_tags(self, name: str, version: str, tags: Mapping[str, str]) -> None:
        """Adds tags to a version."""
        ...

    def download(self, model: ModelVersion, folder: Path) -> Path:
        """Returns a folder with the version's files, whose ``model.json`` names the version.

        Args:
            model: The version.
            folder: Where to put them; taken as it is where it holds this version already.
        """
        ...
