"""From a fitted model to a registered version: run, curves, pictures, card, gates, alias."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from mosaic_assets.models.card import CardFacts, model_card
from mosaic_assets.models.export import UNREGISTERED, write_identity
from mosaic_assets.models.fitted import FittedModel, Scored
from mosaic_assets.models.gates import ValidationThreshold, Verdict, judge
from mosaic_assets.models.plots import calibration_plot, loss_plot, roc_plot
from mosaic_resources.bentos.model_folder import ModelIdentityFile
from mosaic_resources.mlflow.contract import CHALLENGER, CHAMPION, ModelVersion, Registry, RunRequest, RunStatus

__all__ = ["DEFINITION_TAG", "MANIFEST_TAG", "Published", "earlier_settings", "publish", "put_alias", "tracked_run"]

CODE_TAG, SETTINGS_TAG, MANIFEST_TAG, DEFINITION_TAG = "code_version", "settings", "manifest_id", "definition"


@dataclass(frozen=True)
class Published:
    """A registered version, and what was decided of it.

    Args:
        version: The version.
        verdict: What the thresholds said; None where nothing was measured.
        alias: The alias that it was given, if any.
        card: The model card.
        plots: Name → PNG.
    """

    version: ModelVersion
    verdict: Verdict | None
    alias: str | None
    card: str
    plots: Mapping[str, bytes] = field(default_factory=dict)


@contextmanager
def tracked_run(registry: Registry, request: RunRequest) -> Iterator[str]:
    """Opens a run; one that is left by an error is closed as failed."""
    run_id = registry.start_run(request)
    try:
        yield run_id
    except BaseException as exc:
        status: RunStatus = "KILLED" if isinstance(exc, KeyboardInterrupt) else "FAILED"
        registry.end_run(run_id, status, tags={"error": f"{type(exc).__name__}: {exc}"[:500]})
        raise


def publish(
    registry: Registry,
    model: FittedModel,
    facts: CardFacts,
    thresholds: Mapping[str, ValidationThreshold],
    *,
    threshold: float = 0.5,
    tags: Mapping[str, str] | None = None,
    promotable: bool = True,
    beside: Mapping[str, Scored] | None = None,
) -> Published:
    """Registers a model, judges it, gives it its alias and closes its run.

    Args:
        registry: Where to.
        model: The fitted model; its folder gets its identity.
        facts: What the card says.
        thresholds: Metric → demand.
        threshold: Probability from which on the label is taken as 1.
        tags: Further tags of the version.
        promotable: Whether it may be champion or challenger; a reference never is.
        beside: Another version's (labels, probabilities), for the same pictures.

    Raises:
        AliasMovedError: Someone else moved an alias meanwhile.
        DependencyError: The registry does not answer.
    """
    name = facts.name
    verdict = judge(thresholds, model.metrics) if model.scored else None
    write_identity(
        model.folder,
        ModelIdentityFile.model_validate(
            {
                "registered_model_name": name,
                "version": UNREGISTERED,
                "run_id": facts.run_id,
                "manifest_id": facts.manifest_id,
                "threshold": threshold,
                "metrics": dict(model.metrics),
                "label": facts.label,
                "settings": dict(model.settings),
            }
        ),
    )
    card = model_card(replace(facts, verdict=verdict), model)
    (model.folder / "README.md").write_text(card)
    plots = _plots(model, beside or {})
    registry.log(
        facts.run_id,
        files={"model_card.md": card.encode(), **{f"plots/{plot}.png": png for plot, png in plots.items()}},
    )
    named = {
        MANIFEST_TAG: facts.manifest_id,
        CODE_TAG: facts.code_version,
        SETTINGS_TAG: json.dumps(dict(model.settings), sort_keys=True),
        "trained_at": facts.trained_at.isoformat(),
        "gates": str(verdict) if verdict else "not measured: a comparison on later labels decides",
        **(tags or {}),
    }
    version = registry.register(name, model.folder, facts.run_id, named)
    alias = put_alias(registry, version, verdict) if promotable else None
    registry.end_run(facts.run_id, "FINISHED", model.metrics, {"model_version": version.version, "alias": alias or ""})
    return Published(version, verdict, alias, card, plots)


def put_alias(registry: Registry, version: ModelVersion, verdict: Verdict | None) -> str | None:
    """Gives a version the alias that it has earned, and returns it; None where it failed its thresholds.

    The first version that passes is champion. Every later one is challenger: only a comparison on the same labelled
    rows makes it champion. One that was not measured can be challenger, never champion.

    Args:
        registry: Where the aliases are.
        version: The version.
        verdict: What the thresholds said; None: not measured.
    """
    if verdict is not None and not verdict.passed:
        return None
    champion, challenger = (registry.find(version.name, alias) for alias in (CHAMPION, CHALLENGER))
    if champion is None:
        if verdict is None:
            return None
        registry.set_alias(version.name, CHAMPION, version.version, None)
        return CHAMPION
    registry.set_alias(version.name, CHALLENGER, version.version, challenger.version if challenger else None)
    return CHALLENGER


def earlier_settings(versions: Sequence[ModelVersion], code_version: str) -> Mapping[str, Any] | None:
    """Returns the settings that were chosen for the same declaration before; None: choose now.

    Args:
        versions: Versions of the model, oldest first.
        code_version: Hash of what is declared.
    """
    for version in reversed(versions):
        if version.tags.get(CODE_TAG) == code_version and SETTINGS_TAG in version.tags:
            settings: Mapping[str, Any] = json.loads(version.tags[SETTINGS_TAG])
            return settings
    return None


def _plots(model: FittedModel, beside: Mapping[str, Scored]) -> dict[str, bytes]:
    plots = {"loss": loss_plot(model.points)} if model.points else {}
    if model.scored:
        scored = {**model.scored, **beside}
        plots |= {"roc": roc_plot(scored), "calibration": calibration_plot(scored)}
    return plots
