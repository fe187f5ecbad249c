"""What a new version is measured against: the version before it, on held-out rows that neither was fitted on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from mosaic_assets.datasets.manifest import Manifest
from mosaic_assets.models.apply import apply_model
from mosaic_assets.models.fitted import FittedModel, Scored
from mosaic_assets.models.learnt import kept_manifest, learnt_until, validation_start
from mosaic_assets.models.scores import scores
from mosaic_assets.models.versions import version_folder
from mosaic_resources.bentos.model_folder import read_model_folder
from mosaic_resources.mlflow.contract import CHAMPION, ModelVersion, Registry

__all__ = ["Comparison", "compare_with_rival", "rival_of"]

# What `scores` tells of the rows, not of the model.
NOT_METRICS = ("num_rows", "positive_share", "mean_probability")


@dataclass(frozen=True)
class Comparison:
    """A new version beside the one before it.

    Args:
        text: In one line, for people.
        scored: Name of the rival → (labels, probabilities); empty where it could not be scored.
        metrics: ``rival_validation_<metric>`` → value.
    """

    text: str
    scored: Mapping[str, Scored] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


def rival_of(registry: Registry, name: str, *, promotable: bool) -> ModelVersion | None:
    """Returns the champion or, of a model that never is one, the newest version; None for the first of all."""
    if promotable:
        return registry.find(name, CHAMPION)
    return next(reversed(registry.versions(name)), None)


def compare_with_rival(
    model: FittedModel,
    rows: pa.Table,
    manifest: Manifest,
    rival: ModelVersion | None,
    *,
    registry: Registry,
    state: Path,
    metric: str,
) -> Comparison:
    """Returns the metric of a measured model beside its rival's, on the same validation rows.

    The rival is scored only where that is honest: its own fit ended before the validation rows begin, and the rows
    hold the columns that it reads, computed by the on-demand function that it was fitted with.

    Args:
        model: The new model, measured on the validation split while it was fitted on the training split alone.
        rows: The validation split, in the order in which the model was measured on it.
        manifest: What the rows are pinned by.
        rival: The version before; None: there is none.
        registry: Where it is.
        state: State folder; holds the manifests and the downloaded versions.
        metric: Metric that is compared.
    """
    labels, own = model.scored["validation"]
    value, on = scores(labels, own).get(metric), f"{len(labels):,} validation rows"
    if rival is None:
        return Comparison(f"{metric} {_shown(value)} on {on}; it is the first version")
    name = f"{'champion' if CHAMPION in rival.aliases else 'earlier'} version {rival.version}"
    before = read_model_folder(version_folder(registry, state, rival))
    learnt = kept_manifest(state / "manifests", rival)
    obstacle = _obstacle(learnt, before.columns, manifest, rows)
    if obstacle or learnt is None:
        return Comparison(f"{metric} {_shown(value)} on {on}; {name} is not compared: {obstacle}")
    theirs = apply_model(before, rows)
    found = scores(labels, theirs)
    fits = (
        f"{name}, fitted until {learnt_until(learnt):%Y-%m-%d} → this one, until {validation_start(manifest):%Y-%m-%d}"
    )
    text = f"{metric} {_shown(found.get(metric))} → {_shown(value)} on the same {on} ({fits})"
    metrics = {f"rival_validation_{one}": figure for one, figure in found.items() if one not in NOT_METRICS}
    return Comparison(text, {name: (labels, theirs)}, metrics)


def _obstacle(theirs: Manifest | None, columns: Sequence[str], manifest: Manifest, rows: pa.Table) -> str | None:
    """Returns why a rival cannot be scored honestly on the rows; None: it can."""
    if theirs is None:
        return "its manifest is gone"
    if learnt_until(theirs) > validation_start(manifest):
        return f"it has learnt from rows until {learnt_until(theirs):%Y-%m-%d}"
    if theirs.on_demand != manifest.on_demand:
        return "its on-demand function was another"
    missing = [column for column in columns if column not in rows.column_names]
    return f"it reads {', '.join(missing)}, which the dataset no longer has" if missing else None


def _shown(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"
