"""A feature service as plain data and back, so that a manifest alone can say what was joined."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from mosaic_assets.features.views import Entity, FeatureService, FeatureView, Field

__all__ = ["service_definition", "service_of"]


def service_definition(service: FeatureService) -> dict[str, Any]:
    """Returns everything that decides what a service joins, as JSON values."""
    return {"name": service.name, "views": [_view(view, fields) for view, fields in service.views]}


def service_of(definition: Mapping[str, Any]) -> FeatureService:
    """Returns the service that a definition says.

    Example:
        >>> view = FeatureView("v", (Entity("e", ("k",)),), (Field("x", "float64"),), "features/v")
        >>> service = FeatureService("s", ((view, view.schema),))
        >>> service_of(service_definition(service)) == service
        True
    """
    return FeatureService(definition["name"], tuple(_used(view) for view in definition["views"]))


def _view(view: FeatureView, fields: tuple[Field, ...]) -> dict[str, Any]:
    return {
        "name": view.name,
        "entities": [{"name": entity.name, "join_keys": list(entity.join_keys)} for entity in view.entities],
        "schema": [{"name": field.name, "dtype": field.dtype, "width": field.width} for field in view.schema],
        "source": view.source,
        "timestamp_field": view.timestamp_field,
        "created_timestamp_column": view.created_timestamp_column,
        "known_delay_seconds": view.known_delay.total_seconds(),
        "ttl_seconds": view.ttl.total_seconds() if view.ttl is not None else None,
        "online": view.online,
        "used": [field.name for field in fields],
    }


def _used(said: Mapping[str, Any]) -> tuple[FeatureView, tuple[Field, ...]]:
    schema = tuple(Field(**field) for field in said["schema"])
    view = FeatureView(
        said["name"],
        tuple(Entity(entity["name"], tuple(entity["join_keys"])) for entity in said["entities"]),
        schema,
        said["source"],
        said["timestamp_field"],
        said["created_timestamp_column"],
        timedelta(seconds=said["known_delay_seconds"]),
        timedelta(seconds=said["ttl_seconds"]) if said["ttl_seconds"] is not None else None,
        said["online"],
    )
    return view, tuple(field for name in said["used"] for field in schema if field.name == name)
