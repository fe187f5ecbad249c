"""One suite over every store."""

import multiprocessing
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mosaic_resources.errors import DependencyError, UserError
from mosaic_resources.online.blob import decode, encode, rows_of
from mosaic_resources.online.contract import OnlineStore, make_online_store
from mosaic_resources.online.keys import encode_key
from mosaic_resources.online.layout import BlobLayout, FieldLayout, Rows, ViewLayout
from mosaic_resources.online.lmdb_store import LmdbStore

LAYOUT = BlobLayout("s", ("k",), (ViewLayout("v", (FieldLayout("x", "float64"), FieldLayout("y", "float64"))),))


def rows(events: list[int], x: float = 0.0) -> Rows:
    times, values = np.array(events), np.full(len(events), x)
    nulls = {name: np.zeros(len(events), bool) for name in "xy"}
    return encode(LAYOUT, "v", times, times, values={"x": values, "y": values}, nulls=nulls)


def keys(count: int) -> list[bytes]:
    return [key for i in range(count) if (key := encode_key([i])) is not None]


@pytest.fixture(params=["lmdb", "memory", "redis", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OnlineStore]:
    local = {"lmdb": str(tmp_path / "online"), "memory": "memory://"}
    opened = make_online_store(local.get(request.param) or request.getfixturevalue(f"{request.param}_address"))
    if request.param == "redis":
        opened._client.flushdb()
    if request.param == "postgres":
        with opened._connection() as connection:
            connection.execute("truncate mosaic_online")
    yield opened
    opened.close()


def test_unknown_key_is_none(store: OnlineStore) -> None:
    assert store.read(LAYOUT, [b"nothing", None]) == [None, None]


def test_newest_wins_and_changes_are_counted(store: OnlineStore) -> None:
    assert store.merge(LAYOUT, keys(2), rows([5, 5], 1.0)) == 2
    assert store.merge(LAYOUT, keys(2), rows([4, 6], 2.0)) == 1
    assert store.merge(LAYOUT, keys(2), rows([4, 6], 2.0)) == 0
    found = decode(LAYOUT, rows_of(LAYOUT, store.read(LAYOUT, keys(2))), 10, {})
    assert found["v__x"].values.tolist() == [1.0, 2.0]


def test_layouts_live_side_by_side(store: OnlineStore) -> None:
    other = BlobLayout("s", ("k",), (ViewLayout("v", (FieldLayout("x", "float64"),)),))
    store.merge(LAYOUT, keys(1), rows([5], 1.0))
    assert store.read(other, keys(1)) == [None]


def test_unknown_scheme_is_refused() -> None:
    with pytest.raises(UserError, match="scheme 'ftp' is unknown"):
        make_online_store("ftp://host")


def test_reader_of_nothing_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DependencyError, match="Materialize a feature view first"):
        LmdbStore(tmp_path / "none", read_only=True)


def test_full_map_grows(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path, map_bytes=1 << 16)
    assert store.merge(LAYOUT, keys(20_000), rows([1] * 20_000)) == 20_000
    assert None not in store.read(LAYOUT, keys(20_000))
    store.close()


def test_stores_of_a_process_share_one_environment(tmp_path: Path) -> None:
    writer, reader = LmdbStore(tmp_path), LmdbStore(tmp_path, read_only=True)
    writer.merge(LAYOUT, keys(1), rows([1]))
    writer.close()
    assert reader.read(LAYOUT, keys(1)) != [None]
    reader.close()


def test_writing_while_open_for_reading_is_refused(tmp_path: Path) -> None:
    LmdbStore(tmp_path).close()
    reader = LmdbStore(tmp_path, read_only=True)
    with pytest.raises(DependencyError, match="Close that store before writing"):
        LmdbStore(tmp_path)
    reader.close()


def run(code: str, folder: Path) -> "subprocess.Popen[str]":
    prelude = "import sys, time, pathlib; from mosaic_resources.online.lmdb_store import LmdbStore\n"
    return subprocess.Popen([sys.executable, "-c", prelude + code, str(folder)], stdout=subprocess.PIPE, text=True)


def test_reader_process_follows_growth_and_a_killed_one_frees_its_slot(tmp_path: Path) -> None:
    writer = LmdbStore(tmp_path, map_bytes=1 << 16)
    writer.merge(LAYOUT, keys(1), rows([1]))
    code = (
        "s = LmdbStore(pathlib.Path(sys.argv[1]), read_only=True)\n"
        "from mosaic_resources.online.layout import *\n"
        "L = BlobLayout('s', ('k',), (ViewLayout('v', (FieldLayout('x', 'float64'), FieldLayout('y', 'float64'))),))\n"
        "from mosaic_resources.online.keys import encode_key\n"
        "print(s.read(L, [encode_key([0])]) != [None], flush=True)\n"
        "while s.read(L, [encode_key([9999])]) == [None]: time.sleep(.01)\n"
        "print('grown', flush=True); time.sleep(60)\n"
    )
    reader = run(code, tmp_path)
    assert reader.stdout is not None
    assert reader.stdout.readline() == "True\n"
    writer.merge(LAYOUT, keys(10_000), rows([2] * 10_000))
    assert reader.stdout.readline() == "grown\n"
    reader.send_signal(signal.SIGKILL)
    reader.wait()
    writer.merge(LAYOUT, keys(1), rows([3]))
    assert str(reader.pid) not in writer._env.readers()
    writer.close()


def test_killed_writer_leaves_the_last_commit(tmp_path: Path) -> None:
    code = (
        "import numpy as np\n"
        "from mosaic_resources.online.layout import *; from mosaic_resources.online.blob import encode\n"
        "from mosaic_resources.online.keys import encode_key\n"
        "L = BlobLayout('s', ('k',), (ViewLayout('v', (FieldLayout('x', 'float64'), FieldLayout('y', 'float64'))),))\n"
        "s = LmdbStore(pathlib.Path(sys.argv[1])); n = 500\n"
        "for t in range(10**9):\n"
        "    a = np.full(n, t); v = a.astype(float); z = np.zeros(n, bool)\n"
        "    rows = encode(L, 'v', a, a, values={'x': v, 'y': v}, nulls={'x': z, 'y': z})\n"
        "    s.merge(L, [encode_key([i]) for i in range(n)], rows)\n"
        "    print(t, flush=True)\n"
    )
    writer = run(code, tmp_path)
    assert writer.stdout is not None
    last = -1
    for _ in range(20):
        last = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    last = max([last, *map(int, writer.stdout.read().split())])
    writer.wait()
    after = LmdbStore(tmp_path)
    found = decode(LAYOUT, rows_of(LAYOUT, after.read(LAYOUT, keys(500))), 10**9, {})["v__x"].values
    assert len(set(found.tolist())) == 1, "a transaction was torn"
    assert found[0] >= last
    assert after.merge(LAYOUT, keys(500), rows([10**6] * 500)) == 500
    after.close()


def _read_in_child(store: LmdbStore, answer: "multiprocessing.SimpleQueue[bool]") -> None:
    answer.put(store.read(LAYOUT, keys(1)) != [None])


def test_store_survives_a_fork(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path)
    store.merge(LAYOUT, keys(1), rows([1]))
    context = multiprocessing.get_context("fork")
    answer: multiprocessing.SimpleQueue[bool] = context.SimpleQueue()
    child = context.Process(target=_read_in_child, args=(store, answer))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert answer.get()
    assert store.read(LAYOUT, keys(1)) != [None]
    store.close()
