"""The files of a registered model version, on this machine."""

from pathlib import Path

from mosaic_resources.errors import UserError
from mosaic_resources.mlflow.contract import ModelVersion, Registry

__all__ = ["find_version", "version_folder"]


def find_version(registry: Registry, name: str, reference: str) -> ModelVersion:
    """Returns the version that an alias or a number names.

    Raises:
        UserError: There is none.
        DependencyError: The registry does not answer.
    """
    found = registry.find(name, reference)
    if found is None:
        known = ", ".join(model.version for model in registry.versions(name)) or "none"
        raise UserError(
            f"The model '{name}' has no '{reference}'.", name, f"Versions: {known}. Train and promote one first."
        )
    return found


def version_folder(registry: Registry, state: Path, model: ModelVersion) -> Path:
    """Returns the model folder of a version, fetched once and kept under the state folder.

    Args:
        registry: Where it is kept.
        state: State folder of the project.
        model: The version.
    """
    return registry.download(model, state / "models" / model.name / model.version)
