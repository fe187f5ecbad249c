"""One engine for the whole run, a lake for every test, real servers, lineage events checked by their specification."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
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
def start_server() -> Callable[..., tuple["subprocess.Popen[bytes]", int]]:
    """Starts a server on a free loopback port: ``start(lambda port: [command, …], **popen)`` → its process and port."""

    def start(command_of: Callable[[int], list[str]], **told: Any) -> tuple["subprocess.Popen[bytes]", int]:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = int(taken.getsockname()[1])
        command = command_of(port)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **told)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and process.poll() is None:
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", port)) == 0:
                    return process, port
            time.sleep(0.05)
        process.kill()
        raise AssertionError(f"{command} did not start")

    return start


@pytest.fixture(scope="session")
def postgres_address(start_server: Callable[..., tuple["subprocess.Popen[bytes]", int]]) -> Iterator[str]:
    """A database of a server whose data folder is thrown away; the user ``mosaic`` has a password."""
    pytest.importorskip("psycopg", reason="the extra postgres is not installed")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("postgresql is not installed")
    folder = Path(tempfile.mkdtemp(prefix="mosaic-postgres-"))
    user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []  # initdb refuses root
    if user:
        shutil.chown(folder, "postgres")
    (folder / "password").write_text("hushhush")
    (folder / "password").chmod(0o644)
    make = [str(found[-1]), "-D", f"{folder}/data", "-U", "mosaic", "-A", "scram-sha-256", "-N"]
    subprocess.run([*user, *make, f"--pwfile={folder}/password"], check=True, capture_output=True, cwd="/")
    server = [*user, str(found[-1].with_name("postgres")), "-D", f"{folder}/data", "-h", "127.0.0.1", "-F"]
    process, port = start_server(lambda port: [*server, "-p", str(port), "-k", str(folder)])
    yield f"postgresql://mosaic:hushhush@127.0.0.1:{port}/postgres"
    process.terminate()
    process.wait()
    shutil.rmtree(folder, ignore_errors=True)


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
