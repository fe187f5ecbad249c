"""Real servers on free loopback ports, with data folders that are thrown away."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SECONDS = 30


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def started(command: list[str], port: int) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return process
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"{command} did not start")


@pytest.fixture(scope="session")
def start_redis() -> Callable[[], tuple[str, "subprocess.Popen[bytes]"]]:
    pytest.importorskip("redis", reason="the extra redis is not installed")
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")

    def start() -> tuple[str, "subprocess.Popen[bytes]"]:
        port = free_port()
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--requirepass", "hushhush"]
        return f"redis://:hushhush@127.0.0.1:{port}/0", started(["redis-server", *options], port)

    return start


@pytest.fixture(scope="session")
def redis_address(start_redis: Callable[[], tuple[str, "subprocess.Popen[bytes]"]]) -> Iterator[str]:
    address, process = start_redis()
    yield address
    process.terminate()
    process.wait()


@pytest.fixture(scope="session")
def postgres_address() -> Iterator[str]:
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
    port = free_port()
    options = ["-p", str(port), "-h", "127.0.0.1", "-k", str(folder), "-F"]
    server = str(found[-1].with_name("postgres"))
    process = started([*user, server, "-D", f"{folder}/data", *options], port)
    yield f"postgresql://mosaic:hushhush@127.0.0.1:{port}/postgres"
    process.terminate()
    process.wait()
    shutil.rmtree(folder, ignore_errors=True)
