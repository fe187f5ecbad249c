"""What is particular to stores on a server: they go away, they hang, they have passwords."""

import signal
import socket
import subprocess
import threading
from collections.abc import Callable

import numpy as np
import pytest

from mosaic_resources.errors import DependencyError, InternalError, UserError
from mosaic_resources.online.address import packages_of, shown_address
from mosaic_resources.online.blob import decode, encode, rows_of
from mosaic_resources.online.contract import make_online_store
from mosaic_resources.online.keys import encode_key
from mosaic_resources.online.layout import BlobLayout, FieldLayout, Rows, ViewLayout

LAYOUT = BlobLayout("servers", ("k",), (ViewLayout("v", (FieldLayout("x", "float64"),)),))
SERVERS = ["redis", "postgres"]


def rows(event: int, count: int, x: float) -> Rows:
    times = np.full(count, event)
    return encode(LAYOUT, "v", times, times, values={"x": np.full(count, x)}, nulls={"x": np.zeros(count, bool)})


def keys(count: int) -> list[bytes]:
    return [key for i in range(count) if (key := encode_key([i])) is not None]


@pytest.fixture(params=SERVERS)
def address(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(f"{request.param}_address")
    return found


def test_address_is_shown_without_the_password(address: str) -> None:
    store = make_online_store(address)
    assert "hushhush" not in repr(store) + shown_address(address)
    with pytest.raises(DependencyError, match="does not serve") as caught:
        make_online_store(address.replace("hushhush", "wrongpass"))
    assert "wrongpass" not in str(caught.value)
    store.close()


@pytest.mark.parametrize("at", ["redis://u:hushhush@host:nine/0", "postgresql://u:hushhush@host:5432/x?nonsense=1"])
def test_malformed_address_is_refused_without_its_text(at: str) -> None:
    pytest.importorskip("redis")
    pytest.importorskip("psycopg")
    with pytest.raises(UserError, match="malformed") as caught:
        make_online_store(at)
    assert "hushhush" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["redis", "postgresql"])
def test_nobody_there_and_somebody_silent_are_told(scheme: str) -> None:
    pytest.importorskip("redis")
    pytest.importorskip("psycopg")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        at = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/0"
        with pytest.raises(DependencyError, match="Start the server"):
            make_online_store(at)
        silent.listen()
        with pytest.raises(DependencyError, match="Start the server"):
            make_online_store(at)


def test_reader_may_not_write(address: str) -> None:
    make_online_store(address).close()
    reader = make_online_store(address, read_only=True)
    with pytest.raises(InternalError, match="open for reading"):
        reader.merge(LAYOUT, keys(1), rows(1, 1, 1.0))
    reader.close()


def test_two_writers_never_go_back_in_time(address: str) -> None:
    def write(seed: int) -> None:
        store = make_online_store(address)
        for event in np.random.default_rng(seed).permutation(60):
            store.merge(LAYOUT, keys(20)[:: (-1) ** seed], rows(int(event), 20, float(event)))
        store.close()

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = make_online_store(address)
    found = decode(LAYOUT, rows_of(LAYOUT, store.read(LAYOUT, keys(20))), 10**9, {})["v__x"].values
    assert found.tolist() == [59.0] * 20
    store.close()


def test_server_that_hangs_then_dies_is_told(
    start_redis: Callable[[], tuple[str, "subprocess.Popen[bytes]"]],
) -> None:
    at, process = start_redis()
    store = make_online_store(at)
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(DependencyError, match="does not serve"):
        store.read(LAYOUT, keys(1))
    process.send_signal(signal.SIGCONT)
    assert store.read(LAYOUT, keys(1)) == [None]
    process.kill()
    process.wait()
    with pytest.raises(DependencyError, match="Start the server"):
        store.read(LAYOUT, keys(1))
    store.close()


def test_packages_come_only_when_asked() -> None:
    assert packages_of("/data/online") == packages_of("memory://") == ()
    assert packages_of("redis://h/0") == ("redis", "hiredis")
    assert packages_of("postgresql://h/d") == ("psycopg", "psycopg-binary")
