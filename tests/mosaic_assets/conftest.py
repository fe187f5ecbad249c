"""Checks of OpenLineage events against the specification, for every room."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def validate() -> Callable[[Mapping[str, Any]], None]:
    """Checks an event against the specification's schemas and, facet by facet, against the schema that it names."""
    from jsonschema import Draft202012Validator, FormatChecker
    from referencing import Registry, Resource

    from mosaic_assets.lineage.facets import SCHEMAS

    specification = Path(__file__).parents[1] / "data" / "openlineage"
    files = [*specification.glob("*.json"), *(specification / "facets").glob("*.json"), *SCHEMAS.glob("*.json")]
    resources = [Resource.from_contents(json.loads(file.read_text())) for file in files]
    registry: Registry[Any] = Registry().with_resources((str(resource.id()), resource) for resource in resources)

    def check(value: object, schema_url: str) -> None:
        Draft202012Validator({"$ref": schema_url}, registry=registry, format_checker=FormatChecker()).validate(value)

    def of_event(event: Mapping[str, Any]) -> None:
        check(event, event["schemaURL"])
        holders = [event["run"], event["job"], *event["inputs"], *event["outputs"]]
        for holder in holders:
            for kind in ("facets", "inputFacets", "outputFacets"):
                for name, facet in holder.get(kind, {}).items():
                    check(facet, facet["_schemaURL"])
                    document = registry.contents(facet["_schemaURL"].partition("#")[0])
                    assert name in document["properties"], f"{name} is not the name that its schema gives it"

    return of_event
