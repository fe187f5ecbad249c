"""One engine for the whole run, a lake for every test, lineage events checked against the specification."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mosaic_resources.delta.lake import Lake
from mosaic_resources.delta.writers import DeltaRsWriter
from mosaic_resources.engine.sail import SailEngine
from mosaic_resources.engine.session import SessionHolder


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionHolder]:
    sail = SailEngine(tmp_path_factory.mktemp("engine"), memory_bytes=2 << 30, idle_seconds=2)
    holder = SessionHolder(sail)
    yield holder
    holder.close()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"), DeltaRsWriter())


@pytest.fixture(scope="session")
def validate() -> Callable[[Mapping[str, Any]], None]:
    """Checks an event against the specification's schemas and, facet by facet, against the schema that it names."""
    from jsonschema import Draft202012Validator, FormatChecker
    from referencing import Registry, Resource

    from mosaic_assets.lineage.facets import SCHEMAS

    specification = Path(__file__).parent / "data" / "openlineage"
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
