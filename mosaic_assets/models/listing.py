"""Which versions of which models are registered: aliases, metrics, what was decided about them."""

from typing import Any

from mosaic_resources.errors import DependencyError
from mosaic_resources.mlflow.contract import Registry

__all__ = ["list_models"]


def list_models(registry: Registry) -> tuple[list[dict[str, Any]], str | None]:
    """Returns the versions of all models as plain values, oldest first, and what kept them from being read, if so.

    Opens nothing where nothing was ever registered.

    Args:
        registry: Where they are kept.
    """
    if not registry.exists:
        return [], None
    try:
        found = [version for name in registry.models() for version in registry.versions(name)]
        metrics = {run: registry.metrics(run) for run in {one.run_id for one in found} if run}
    except DependencyError as exc:
        return [], str(exc)
    return [
        {
            "model": one.name,
            "version": one.version,
            "aliases": list(one.aliases),
            "metrics": metrics.get(one.run_id, {}),
            "trained_at": one.tags.get("trained_at"),
            "gates": one.tags.get("gates"),
            "decision": one.tags.get("decision"),
            "decided_at": one.tags.get("decided_at"),
            "decision_reasons": one.tags.get("decision_reasons"),
        }
        for one in found
    ], None
