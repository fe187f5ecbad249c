"""Which versions of which tables must stay: those that a living manifest names."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from mosaic_assets.datasets.manifest import Manifest
from mosaic_resources.errors import UserError
from mosaic_resources.mlflow.contract import ModelVersion
from mosaic_resources.seams import Seams

__all__ = ["MissingManifests", "Pins", "find_pins", "pins_of", "registered_models"]

MissingManifests = Literal["refuse", "ignore"]
MANIFEST_TAG = "manifest_id"


@dataclass(frozen=True)
class Pins:
    """Pinned versions.

    Args:
        tables: Table → version → who needs it.
        released: Manifests that nothing needs any more; what they name may go.
    """

    tables: Mapping[str, Mapping[int, Sequence[str]]]
    released: Sequence[str] = ()

    def of(self, table: str) -> Mapping[int, Sequence[str]]:
        """Returns version → who needs it, of one table."""
        return self.tables.get(table, {})


def pins_of(seams: Seams, retention: timedelta, missing: MissingManifests = "refuse") -> Pins:
    """Returns what the manifests in the state folder and the models in the registry pin.

    Raises:
        UserError: A manifest is damaged, or one that a registered model names is not here.
        DependencyError: The registry does not answer; without it nothing is known to be free.
    """
    return find_pins(
        seams.settings.state / "manifests", registered_models(seams), datetime.now(UTC) - retention, missing
    )


def find_pins(
    folder: Path, models: Iterable[ModelVersion], young_since: datetime, missing: MissingManifests = "refuse"
) -> Pins:
    """Returns what the manifests in a folder pin.

    A manifest lives while a registered model names it, while it is the newest of its dataset, and while it is young.

    Args:
        folder: Where manifests are kept; it need not exist.
        models: All registered versions, of all models.
        young_since: Manifests written since then live.
        missing: What to do where a registered model names a manifest that is not here.

    Raises:
        UserError: A manifest is damaged, or one that a registered model names is not here.
    """
    written = {file: file.stat().st_mtime for file in folder.glob("*.json")}
    manifests = [(Manifest.load(file), at) for file, at in sorted(written.items(), key=lambda item: item[1])]
    newest = {manifest.dataset: manifest.id for manifest, _ in manifests}
    named: dict[str, list[str]] = defaultdict(list)
    for model in models:
        if model.tags.get(MANIFEST_TAG):
            named[model.tags[MANIFEST_TAG]].append(f"{model.name} {model.version}")
    lost = sorted(set(named) - {manifest.id for manifest, _ in manifests})
    if lost and missing == "refuse":
        raise UserError(
            f"The model {named[lost[0]][0]} names the manifest {lost[0]}, which is not here; "
            "what it pins is not known, so nothing may be removed.",
            str(folder), "Bring the file back, delete the model version, or set missing_manifests: ignore.",
        )  # fmt: skip
    tables: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    released = []
    for manifest, at in manifests:
        why = _why(manifest, named, newest, datetime.fromtimestamp(at, UTC) >= young_since)
        if why is None:
            released.append(f"{manifest.dataset}-{manifest.id}")
            continue
        own = {} if manifest.table_version is None else {f"datasets/{manifest.dataset}": manifest.table_version}
        for table, version in {**manifest.tables, **own}.items():
            tables[table][version].append(f"manifest {manifest.dataset}-{manifest.id} ({why})")
    return Pins({table: dict(versions) for table, versions in tables.items()}, released)


def registered_models(seams: Seams) -> list[ModelVersion]:
    """Returns all versions of all registered models; none where no registry was ever made.

    Raises:
        DependencyError: The registry does not answer, or MLflow is not installed.
    """
    scheme, _, path = seams.settings.mlflow_tracking_uri.partition(":///")
    if scheme == "sqlite" and not Path(path.partition("?")[0]).exists():
        return []
    registry = seams.registry
    return [version for name in registry.models() for version in registry.versions(name)]


def _why(manifest: Manifest, named: Mapping[str, Sequence[str]], newest: Mapping[str, str], young: bool) -> str | None:
    if manifest.id in named:
        return f"model {', '.join(named[manifest.id])}"
    if newest[manifest.dataset] == manifest.id:
        return "newest of its dataset"
    return "young" if young else None
