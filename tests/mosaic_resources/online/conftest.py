"""Redis on free loopback ports."""

import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture(scope="session")
def start_redis(
    start_server: Callable[..., tuple["subprocess.Popen[bytes]", int]],
) -> Callable[[], tuple[str, "subprocess.Popen[bytes]"]]:
    pytest.importorskip("redis", reason="the extra redis is not installed")
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")

    def start() -> tuple[str, "subprocess.Popen[bytes]"]:
        options = ["--bind", "127.0.0.1", "--save", "", "--requirepass", "hushhush"]
        process, port = start_server(lambda port: ["redis-server", "--port", str(port), *options])
        return f"redis://:hushhush@127.0.0.1:{port}/0", process

    return start


@pytest.fixture(scope="session")
def redis_address(start_redis: Callable[[], tuple[str, "subprocess.Popen[bytes]"]]) -> Iterator[str]:
    address, process = start_redis()
    yield address
    process.terminate()
    process.wait()
