"""The rows that the champion was fitted on: from its version in the registry to the table version of its dataset."""

from mosaic_assets.datasets.manifest import Manifest
from mosaic_resources.errors import UserError
from mosaic_resources.mlflow.contract import CHAMPION, Registry
from mosaic_resources.settings.settings import Settings

__all__ = ["champion_dataset"]


def champion_dataset(registry: Registry, settings: Settings, name: str, table: str) -> tuple[str, str, int]:
    """Returns the champion's manifest id, its version, and the version of ``table`` that holds its rows.

    Args:
        registry: Where models are registered.
        settings: For the folder of the manifests.
        name: Registered model.
        table: Table of its dataset, ``datasets/<name>``.

    Raises:
        UserError: There is no champion, or its manifest is missing or names no version of the table.
    """
    from mosaic_assets.models.publish import MANIFEST_TAG

    champion = registry.find(name, CHAMPION)
    if champion is None:
        raise UserError(f"'{name}' has no champion.", table, "Train a model that passes its gates first.")
    file = f"{table.rpartition('/')[2]}-{champion.tags.get(MANIFEST_TAG, '')}.json"
    manifest = Manifest.load(settings.state / "manifests" / file)
    if manifest.table_version is None:
        raise UserError("The champion's manifest names no version of its table.", file, "Rebuild the dataset.")
    return manifest.id, champion.version, manifest.table_version
