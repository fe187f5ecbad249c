"""Scores every version of some models on the same labelled rows, and says which of them has learnt from the rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.datasets.manifest import Manifest
from mosaic_assets.models.apply import apply_model
from mosaic_assets.models.learnt import kept_manifest, learnt_until
from mosaic_assets.models.scores import scores
from mosaic_assets.models.versions import version_folder
from mosaic_resources.bentos.model_folder import read_model_folder
from mosaic_resources.errors import UserError
from mosaic_resources.mlflow.contract import ModelVersion, Registry

__all__ = ["Line", "score_versions"]

MIN_ROWS = 200  # Below it an AUC is known to a tenth or worse.
_UTC = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Line:
    """One version's figures.

    Args:
        name: Registered model.
        version: Its version.
        aliases: Names that point to it.
        metrics: Metric → value.
        in_sample: Whether it has learnt from some of the rows, or nobody knows: its figures may flatter it.
    """

    name: str
    version: str
    aliases: tuple[str, ...]
    metrics: Mapping[str, float]
    in_sample: bool


def score_versions(registry: Registry, models: Sequence[str], rows: pa.Table, label: str, state: Path) -> list[Line]:
    """Returns the figures of all versions: those that have not learnt from the rows first, the best AUC first.

    Rows that come after every version's fit are scored alone, where there are enough of them: then none is in-sample.

    Args:
        registry: Where the versions are.
        models: Registered models.
        rows: Labelled rows with every column that a version reads, and the time that its manifest names.
        label: Label column.
        state: State folder; holds the manifests and the downloaded versions.

    Raises:
        UserError: No version is registered.
        UnknownNameError: A version reads a column that the rows lack.
    """
    versions = [version for model in models for version in registry.versions(model)]
    if not versions:
        raise UserError(f"No version of {', '.join(models)} is registered.", do="Train one first.")
    manifests = [kept_manifest(state / "manifests", version) for version in versions]
    rows = _after_every_fit(rows, manifests)
    lines = [_line(registry, one, rows, label, state, kept) for one, kept in zip(versions, manifests, strict=True)]
    return sorted(lines, key=lambda line: (line.in_sample, -line.metrics.get("roc_auc", 0.0)))


def _after_every_fit(rows: pa.Table, manifests: Sequence[Manifest | None]) -> pa.Table:
    """Returns the rows that no version has learnt from, where there are enough of them, else all rows."""
    known = [manifest for manifest in manifests if manifest is not None]
    times = {manifest.timestamp_field for manifest in known}
    if len(known) < len(manifests) or not times <= set(rows.column_names):
        return rows
    later = rows
    for manifest in known:
        later = later.filter(pc.greater_equal(later[manifest.timestamp_field], _instant(learnt_until(manifest))))
    return later if later.num_rows >= MIN_ROWS else rows


def _line(
    registry: Registry, version: ModelVersion, rows: pa.Table, label: str, state: Path, manifest: Manifest | None
) -> Line:
    folder = read_model_folder(version_folder(registry, state, version))
    found = scores(rows[label].to_numpy(), apply_model(folder, rows))
    return Line(version.name, version.version, version.aliases, found, _has_learnt(manifest, rows))


def _has_learnt(manifest: Manifest | None, rows: pa.Table) -> bool:
    if manifest is None or manifest.timestamp_field not in rows.column_names:
        return True
    return bool(pc.any(pc.less(rows[manifest.timestamp_field], _instant(learnt_until(manifest)))).as_py())


def _instant(at: datetime) -> pa.Scalar:
    return pa.scalar(at, _UTC)
