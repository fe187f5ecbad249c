"""One engine for the whole run, a lake for every test, real servers, lineage events checked by their specification."""

import base64
import hmac
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
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


def free_ports(num_ports: int) -> list[int]:
    with ExitStack() as held:
        taken = [held.enter_context(socket.socket()) for _ in range(num_ports)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in taken]


@pytest.fixture(scope="session")
def start_server() -> Callable[..., tuple["subprocess.Popen[bytes]", int]]:
    """Starts a server on a free loopback port: ``start(lambda port: [command, …], **popen)`` → its process and port."""

    def start(command_of: Callable[[int], list[str]], **told: Any) -> tuple["subprocess.Popen[bytes]", int]:
        (port,) = free_ports(1)
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
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """SeaweedFS, which speaks S3, checks signatures and puts under a condition: the address of S3 and of its folders.

    The key of ``reader`` is ``hushhush``.
    """
    pytest.importorskip("obstore", reason="the extra objects is not installed")
    command = shutil.which("weed") or shutil.which("weed", path=str(Path("~/go/bin").expanduser()))
    if command is None:
        pytest.skip("SeaweedFS is not installed (.ci/seaweedfs builds it)")
    folder = tmp_path_factory.mktemp("seaweedfs")
    login = {"name": "reader", "credentials": [{"accessKey": "reader", "secretKey": "hushhush"}], "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [login]}))
    names = ["master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc",
             "s3.port", "s3.port.grpc"]  # fmt: skip
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    options = [f"-dir={folder}", "-ip=127.0.0.1", "-s3", f"-s3.config={folder}/s3.json", "-volume.max=400",
               "-master.volumeSizeLimitMB=16", "-s3.port.iceberg=0", "-s3.port.lance=0",
               "-master.telemetry=false"]  # fmt: skip
    told = [command, "server", *options, *(f"-{name}={port}" for name, port in ports.items())]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(told, stdout=log, stderr=log, cwd=folder)
    files = f"http://127.0.0.1:{ports['filer.port']}/buckets"
    deadline = time.monotonic() + 60
    while True:  # It answers before it can store anything.
        try:
            assert httpx.put(f"{files}/ready/probe", content=b"x", timeout=20).is_success
            assert httpx.get(f"http://127.0.0.1:{ports['s3.port']}/").status_code == 403
            break
        except (httpx.HTTPError, AssertionError):
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, (folder / "log").read_text()[-2000:]
            time.sleep(0.2)
    yield f"http://127.0.0.1:{ports['s3.port']}", files
    process.terminate()
    process.wait()


@pytest.fixture
def bucket(s3_server: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, str]]:
    """A new bucket's address and the options to reach it, whose secret is in ``S3_SECRET``."""
    address, files = s3_server
    name = f"bucket-{time.time_ns()}"
    httpx.post(f"{files}/{name}/").raise_for_status()
    monkeypatch.setenv("S3_SECRET", "hushhush")
    options = {
        "aws_access_key_id": "reader", "aws_secret_access_key": "${S3_SECRET}", "aws_endpoint": address,
        "aws_region": "us-east-1", "aws_allow_http": "true",
    }  # fmt: skip
    return f"s3://{name}", options


@pytest.fixture(scope="session")
def azure_server(
    start_server: Callable[..., tuple["subprocess.Popen[bytes]", int]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Azurite, the emulator that Azure's makers keep: its address; account and key are those that it documents."""
    pytest.importorskip("obstore", reason="the extra objects is not installed")
    command = shutil.which("azurite-blob")
    if command is None:
        pytest.skip("azurite is not installed (npm install -g azurite)")
    folder = str(tmp_path_factory.mktemp("azurite"))
    options = ["--location", folder, "--skipApiVersionCheck", "--silent"]
    process, port = start_server(lambda port: [command, "--blobPort", str(port), *options])
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait()


@pytest.fixture
def container(azure_server: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, str]]:
    """A new container's address and the options to reach it, whose key is in ``AZURE_KEY``."""
    name = f"container-{time.time_ns()}"
    account, day = "devstoreaccount1", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    blanks = "\n" * 12
    told = f"PUT{blanks}x-ms-date:{day}\nx-ms-version:2021-08-06\n/{account}/{account}/{name}\nrestype:container"
    signature = base64.b64encode(hmac.digest(base64.b64decode(key), told.encode(), "sha256")).decode()
    headers = {"x-ms-date": day, "x-ms-version": "2021-08-06", "authorization": f"SharedKey {account}:{signature}"}
    httpx.put(f"{azure_server}/{account}/{name}?restype=container", headers=headers).raise_for_status()
    monkeypatch.setenv("AZURE_KEY", key)
    return f"abfs://{name}", {
        "azure_storage_account_name": account, "azure_storage_account_key": "${AZURE_KEY}",
        "azure_storage_endpoint": f"{azure_server}/{account}", "allow_http": "true",
    }  # fmt: skip


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
