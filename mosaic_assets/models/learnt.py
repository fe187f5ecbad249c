"""Until when a model version has learnt: what it says of older rows is no test of it."""

from datetime import UTC, datetime
from pathlib import Path

from mosaic_assets.datasets.manifest import Manifest
from mosaic_assets.models.publish import MANIFEST_TAG
from mosaic_resources.errors import UserError
from mosaic_resources.mlflow.contract import ModelVersion, Registry

__all__ = ["kept_manifest", "learnt_by_version", "learnt_until", "manifest_of_version", "validation_start"]


def kept_manifest(manifests: Path, model: ModelVersion) -> Manifest | None:
    """Returns the manifest of the rows that a version was fitted on; None where it names none or it is gone."""
    manifest_id = model.tags.get(MANIFEST_TAG)
    file = next(iter(manifests.glob(f"*-{manifest_id}.json")), None) if manifest_id else None
    return Manifest.load(file) if file else None


def manifest_of_version(manifests: Path, model: ModelVersion) -> Manifest:
    """Returns the manifest of the rows that a version was fitted on.

    Args:
        manifests: Where manifests are kept.
        model: The version.

    Raises:
        UserError: The version names no manifest, or it is gone.
    """
    found = kept_manifest(manifests, model)
    if found is None:
        raise UserError(
            f"No manifest of {model.name} version {model.version} is kept.", str(manifests), "Train it anew."
        )
    return found


def learnt_until(manifest: Manifest) -> datetime:
    """Returns the end of the rows that a model was fitted or tuned on, UTC."""
    return manifest.learnt_until


def validation_start(manifest: Manifest) -> datetime:
    """Returns the end of the training split, where the held-out rows begin, UTC.

    Where they are spread over all times, by keys or in folds, it is the first of all times: nobody learnt before it.
    """
    spread = not manifest.split or "n_splits" in manifest.splitting
    return datetime.min.replace(tzinfo=UTC) if spread else datetime.fromisoformat(manifest.split[0])


def learnt_by_version(registry: Registry, manifests: Path, name: str) -> dict[str, datetime]:
    """Returns version → the end of what it was fitted or tuned on; one whose manifest is gone is left out.

    Args:
        registry: Where the versions are.
        manifests: Where manifests are kept.
        name: Registered model.
    """
    kept = {model.version: kept_manifest(manifests, model) for model in registry.versions(name)}
    return {version: learnt_until(manifest) for version, manifest in kept.items() if manifest is not None}
