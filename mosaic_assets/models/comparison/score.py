"""Scores every version of some models on the same labelled rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from mosaic_assets.models.apply import apply_model
from mosaic_assets.models.scores import scores
from mosaic_assets.models.versions import version_folder
from mosaic_resources.bentos.model_folder import read_model_folder
from mosaic_resources.errors import UserError
from mosaic_resources.mlflow.contract import Registry

__all__ = ["Line", "score_versions"]


@dataclass(frozen=True)
class Line:
    """One version's figures.

    Args:
        name: Registered model.
        version: Its version.
        aliases: Names that point to it.
        metrics: Metric → value.
    """

    name: str
    version: str
    aliases: tuple[str, ...]
    metrics: dict[str, float]


def score_versions(registry: Registry, models: Sequence[str], rows: pa.Table, label: str, state: Path) -> list[Line]:
    """Returns the figures of all versions, best AUC first.

    Args:
        registry: Where the versions are.
        models: Registered models.
        rows: Labelled rows with every column that a version reads.
        label: Label column.
        state: The state folder, where downloaded versions are kept.

    Raises:
        UserError: No version is registered.
    """
    lines = []
    for model in models:
        for version in registry.versions(model):
            folder = read_model_folder(version_folder(registry, state, version))
            found = scores(rows[label].to_numpy(), apply_model(folder, rows))
            lines.append(Line(version.name, version.version, version.aliases, found))
    if not lines:
        raise UserError(f"No version of {', '.join(models)} is registered.", do="Train one first.")
    return sorted(lines, key=lambda line: -line.metrics.get("roc_auc", 0.0))
