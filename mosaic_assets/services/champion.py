"""The model that an alias names, with what it was fitted on: folder, identity, manifest."""

from dataclasses import dataclass
from pathlib import Path

from mosaic_assets.datasets.manifest import Manifest
from mosaic_assets.models.versions import version_folder
from mosaic_resources.bentos.model_folder import ModelFolder, read_model_folder
from mosaic_resources.errors import UserError
from mosaic_resources.seams import Seams

__all__ = ["AliasedModel", "aliased_model", "find_model", "on_demand_file"]


@dataclass(frozen=True)
class AliasedModel:
    """A registered model version.

    Args:
        model: Its folder.
        manifest: The dataset that it was fitted on.
    """

    model: ModelFolder
    manifest: Manifest


def find_model(seams: Seams, registered_model_name: str, reference: str, dataset: str) -> AliasedModel | None:
    """Returns the model version that an alias (or ``newest``) names; None where it names none.

    Args:
        seams: Registry and state folder.
        registered_model_name: Name of the model.
        reference: ``champion``, ``challenger`` or ``newest``.
        dataset: Name of its dataset.

    Raises:
        UserError: Its folder or manifest is damaged or gone.
        DependencyError: The registry does not answer.
    """
    if reference == "newest":
        found = next(reversed(seams.registry.versions(registered_model_name)), None)
    else:
        found = seams.registry.find(registered_model_name, reference)
    if found is None:
        return None
    model = read_model_folder(version_folder(seams.registry, seams.settings.state, found))
    file = seams.settings.state / "manifests" / f"{dataset}-{model.identity.manifest_id}.json"
    return AliasedModel(model, Manifest.load(file))


def aliased_model(seams: Seams, registered_model_name: str, reference: str, dataset: str) -> AliasedModel:
    """Returns the model version that ``find_model`` finds.

    Raises:
        UserError: It finds none, or its folder or manifest is damaged or gone.
        DependencyError: The registry does not answer.
    """
    found = find_model(seams, registered_model_name, reference, dataset)
    if found is None:
        raise UserError(
            f"'{registered_model_name}' has no {reference}.", do="Train a model and let it pass its gates first."
        )
    return found


def on_demand_file(aliased: AliasedModel, folder: Path) -> Path | None:
    """Writes the on-demand file that the model was fitted with, byte for byte; None where there was none.

    What answers is what was trained, whatever has become of the file in the project since.
    """
    if aliased.manifest.on_demand is None:
        return None
    file = folder / "on_demand.py"
    file.write_text(aliased.manifest.on_demand)
    return file
