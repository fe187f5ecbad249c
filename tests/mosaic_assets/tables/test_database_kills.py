"""A load from PostgreSQL killed anywhere, or twice at once: the next run, unaided, has every row exactly once."""

import multiprocessing
import os
import random
import signal
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mosaic_assets.tables.cursor import load
from mosaic_assets.tables.database.load import database_source
from mosaic_assets.tables.evolution import Columns
from mosaic_resources.databases.contract import open_database
from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.lake import Lake
from mosaic_resources.delta.writers import DeltaRsWriter

pytest.importorskip("adbc_driver_postgresql", reason="the extra databases is not installed")
CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload(
    ["mosaic_assets.tables.database.load", "adbc_driver_postgresql.dbapi", "pyarrow.dataset"]
)
POINTS = ("fetched", "laid_out", "created", "written", "committed")


class StoppingWriter(DeltaRsWriter):
    """A writer that reports before and after its commit."""

    def __init__(self, barrier):
        super().__init__()
        self.barrier = barrier

    def create(self, *told):
        super().create(*told)
        self.barrier("created")

    def write(self, *told, **also):
        super().write(*told, **also)
        self.barrier("written")


def run(folder: str, password: str, host: str, barrier=lambda name: None):
    os.environ["SHOP_PASSWORD"] = password
    database = open_database(f"postgresql://mosaic:${{SHOP_PASSWORD}}@{host}/postgres", "raw/events")
    source = database_source(
        database, "select id, tick from events", origin="shop", columns=Columns({}, {}), mode="add_new_columns",
        cursor="tick", lag=0, rescued="_rescued_data", where="raw/events",
    )  # fmt: skip
    lake = Lake(f"{folder}/lake", StoppingWriter(barrier))
    return load(
        lake, "raw/events", source, now_utc=datetime(2024, 1, 1, tzinfo=UTC), commit=Commit("t"), barrier=barrier
    )


def run_and_die(folder: str, password: str, host: str, point: str):
    run(folder, password, host, lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == point else None)


@pytest.fixture
def shop(postgres_address: str) -> Any:
    import psycopg

    with psycopg.connect(postgres_address, autocommit=True) as connection:
        connection.execute("drop table if exists events")
        connection.execute("create table events (id bigint, tick int)")
        yield connection


@pytest.fixture
def login(postgres_address: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    monkeypatch.setenv("SHOP_PASSWORD", "")
    host = postgres_address.removesuffix("/postgres").partition("@")[2]
    return "hushhush", host


def put(shop: Any, *rows: tuple[int, int]) -> None:
    with shop.cursor() as cursor:
        cursor.executemany("insert into events values (%s, %s)", rows)


def stored(folder: Path) -> Counter[tuple[int, int]]:
    rows = Lake(f"{folder}/lake", DeltaRsWriter()).read("raw/events", columns=["id", "tick"])
    return Counter(zip(rows["id"].to_pylist(), rows["tick"].to_pylist(), strict=True))


@pytest.mark.parametrize("point", POINTS)
def test_a_first_load_killed_at(shop, login, tmp_path, point):
    put(shop, (1, 1), (2, 1), (2, 1))
    child = CHILDREN.Process(target=run_and_die, args=(str(tmp_path), *login, point))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    put(shop, (2, 1), (3, 2))
    run(str(tmp_path), *login)
    assert stored(tmp_path) == Counter([(1, 1), (2, 1), (2, 1), (2, 1), (3, 2)])


@pytest.mark.parametrize("point", [point for point in POINTS if point != "created"])
def test_a_later_load_with_ties_killed_at(shop, login, tmp_path, point):
    put(shop, (1, 1))
    run(str(tmp_path), *login)
    put(shop, (1, 1), (2, 1))
    child = CHILDREN.Process(target=run_and_die, args=(str(tmp_path), *login, point))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert run(str(tmp_path), *login).num_rows == (2 if point in ("fetched", "laid_out") else 0)
    assert stored(tmp_path) == Counter([(1, 1), (1, 1), (2, 1)])


def test_two_loads_at_once_bring_each_row_once(shop, login, tmp_path):
    put(shop, (0, 0))
    run(str(tmp_path), *login)
    rows = [(number, number // 5) for number in range(1, 200)]
    for start in range(0, len(rows), 40):
        put(shop, *rows[start : start + 40])
        children = [CHILDREN.Process(target=run, args=(str(tmp_path), *login)) for _ in range(2)]
        for child in children:
            child.start()
        for child in children:
            child.join(120)
            assert child.exitcode == 0
    assert stored(tmp_path) == Counter([(0, 0), *rows])


def draw(shop: Any, login: tuple[str, str], folder: Path, num_kills: int, seed: int) -> int:
    """Kills loads at random moments while rows come, many at the newest tick; returns how many died unfinished."""
    rng = random.Random(seed)
    tick = num_died = 0
    wanted: Counter[tuple[int, int]] = Counter()
    for number in range(num_kills):
        tick += rng.choice([0, 0, 1])
        rows = [(rng.randrange(3), tick) for _ in range(rng.randint(1, 5))]
        put(shop, *rows)
        wanted.update(rows)
        child = CHILDREN.Process(target=run, args=(str(folder), *login))
        child.start()
        child.join(rng.uniform(0.0, 0.25))
        child.kill()
        child.join(60)
        num_died += child.exitcode == -signal.SIGKILL
        if number % 5 == 4:
            run(str(folder), *login)
            assert stored(folder) == wanted
    return num_died


def test_twenty_random_kills_lose_and_double_nothing(shop, login, tmp_path):
    assert draw(shop, login, tmp_path, 20, seed=1) > 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_five_hundred_random_kills_lose_and_double_nothing(shop, login, tmp_path):
    assert draw(shop, login, tmp_path, 500, seed=2) > 100
