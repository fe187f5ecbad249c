"""What features there are, and what stands on them."""

from collections.abc import Sequence
from typing import Any

from mosaic_assets.catalogue import ComponentTree
from mosaic_assets.features.component import FeatureServiceComponent, FeatureViewFields, feature_views
from mosaic_assets.features.views import FeatureRef, Field
from mosaic_assets.features.windows.component import StreamFeatureViewComponent
from mosaic_resources.errors import UnknownNameError

__all__ = ["describe_view", "list_views"]


def list_views(tree: ComponentTree) -> list[dict[str, Any]]:
    """Returns the declared feature views as plain values, by name."""
    views = feature_views(tree)
    services = tree.get_all_components(of_type=FeatureServiceComponent)
    found = []
    for one in sorted(tree.get_all_components(of_type=FeatureViewFields), key=lambda view: view.name):
        view = views[one.name]
        users = [service.name for service in services if _used(service, one.name)]
        found.append(
            {"view": one.name, "kind": _kind(one), "description": one.description, "owners": list(one.owners),
             "tags": dict(one.tags), "entities": list(one.entities), "join_keys": list(view.join_keys),
             "features": {field.name: _shown(field) for field in view.schema},
             "known": one.created_timestamp_column or f"after {one.known_delay}", "ttl": one.ttl,
             "online": one.online, "table": one.table, "feature_services": users}
        )  # fmt: skip
    return found


def describe_view(tree: ComponentTree, name: str) -> dict[str, Any]:
    """Returns one view as plain values, with the features that each service uses.

    Raises:
        UnknownNameError: It is not declared.
    """
    views = {view["view"]: view for view in list_views(tree)}
    if name not in views:
        raise UnknownNameError("FeatureView", name, views)
    return views[name] | {
        "used_features": {
            service.name: sorted({ref.feature for ref in _refs(service) if ref.view == name})
            for service in tree.get_all_components(of_type=FeatureServiceComponent)
            if _used(service, name)
        }
    }


def _kind(view: FeatureViewFields) -> str:
    if not isinstance(view, StreamFeatureViewComponent):
        return "FeatureView"
    kinds = dict.fromkeys(f"{one.kind} {one.slide or ''}".strip() for one in view.aggregations)
    return f"StreamFeatureView of {view.source}, {', '.join(kinds)}"


def _shown(field: Field) -> str:
    return f"string({field.width})" if field.dtype == "string" else field.dtype


def _used(service: FeatureServiceComponent, view: str) -> bool:
    return any(ref.view == view for ref in _refs(service))


def _refs(service: FeatureServiceComponent) -> Sequence[FeatureRef]:
    return [FeatureRef.parse(text) for text in service.features]
