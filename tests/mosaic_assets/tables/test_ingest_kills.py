"""An ingest killed anywhere: the next run, unaided, leaves every source row in the table exactly once."""

import json
import multiprocessing
import os
import random
import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mosaic_assets.tables.evolution import columns_of
from mosaic_assets.tables.ingest import ingest
from mosaic_assets.tables.ledger import Ledger
from mosaic_assets.tables.source import FileSource
from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.lake import Lake
from mosaic_resources.delta.writers import DeltaRsWriter

# Children are forked off a server that has the modules loaded and no thread of the writer running.
CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload(["mosaic_assets.tables.ingest", "pyarrow.dataset", "pyarrow.parquet"])
SOURCE = FileSource(columns_of({"a": "bigint"}, "test"), "add_new_columns", "json")
POINTS = ("listed", "parsed", "created", "written", "committed", "settled")


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


def run(folder: str, barrier=lambda name: None):
    root = Path(folder)
    return ingest(
        Lake(str(root / "lake"), StoppingWriter(barrier)), Ledger(root / "ingest.db"), "raw/t", root / "landing", "*",
        source=SOURCE, now_utc=datetime(2013, 1, 1, tzinfo=UTC), commit=Commit("raw/t"), changed_files="reload",
        barrier=barrier,
    )  # fmt: skip


def run_and_die(folder: str, point: str):
    run(folder, lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == point else None)


def land(folder: Path, name: str, values: list[int], **also):
    (folder / "landing").mkdir(exist_ok=True)
    (folder / "landing" / f"{name}.part").write_text("".join(json.dumps({"a": v, **also}) + "\n" for v in values))
    (folder / "landing" / f"{name}.part").rename(folder / "landing" / name)


def stored(folder: Path) -> list[tuple[str, int]]:
    rows = Lake(str(folder / "lake"), DeltaRsWriter()).read("raw/t", columns=["_source_file", "a"])
    return sorted(zip(rows["_source_file"].to_pylist(), rows["a"].to_pylist(), strict=True))


def kill_at(folder: Path, point: str) -> int | None:
    child = CHILDREN.Process(target=run_and_die, args=(str(folder), point))
    child.start()
    child.join(60)
    return child.exitcode


@pytest.mark.parametrize("point", POINTS)
def test_a_first_load_killed_at(tmp_path, point):
    land(tmp_path, "1", [1, 2])
    assert kill_at(tmp_path, point) == -signal.SIGKILL
    run(str(tmp_path))
    assert stored(tmp_path) == [("1", 1), ("1", 2)]


@pytest.mark.parametrize("point", [point for point in POINTS if point != "created"])
def test_a_reload_with_a_new_file_and_a_new_column_killed_at(tmp_path, point):
    land(tmp_path, "1", [1, 2])
    run(str(tmp_path))
    land(tmp_path, "1", [1, 3, 4])
    land(tmp_path, "2", [5], b="x")
    assert kill_at(tmp_path, point) == -signal.SIGKILL
    run(str(tmp_path))
    assert stored(tmp_path) == [("1", 1), ("1", 3), ("1", 4), ("2", 5)]
    assert run(str(tmp_path)).files == ()


def test_a_file_that_changes_after_a_kill_behind_the_commit_is_reloaded(tmp_path):
    land(tmp_path, "1", [1])
    assert kill_at(tmp_path, "committed") == -signal.SIGKILL
    land(tmp_path, "1", [1, 2])
    run(str(tmp_path))
    assert stored(tmp_path) == [("1", 1), ("1", 2)]


def test_a_reload_killed_before_its_commit_is_made_good_though_another_machine_committed(tmp_path):
    land(tmp_path, "1", [1])
    run(str(tmp_path))
    land(tmp_path, "1", [2, 3])
    assert kill_at(tmp_path, "parsed") == -signal.SIGKILL
    table = Lake(str(tmp_path / "lake"), DeltaRsWriter())
    other = table.read("raw/t").set_column(0, "a", [[9]]).set_column(3, "_source_file", [["2"]])
    table.append_stream("raw/t", "ingest/raw/t", lambda last: (other, last + 1))
    land(tmp_path, "2", [9])
    run(str(tmp_path))
    assert stored(tmp_path) == [("1", 2), ("1", 3), ("2", 9)]


def draw(folder: Path, num_kills: int, seed: int) -> int:
    """Kills runs at random moments while files land and change; returns how many died before they were done."""
    rng = random.Random(seed)
    wanted: dict[str, list[int]] = {}
    num_died = 0
    for number in range(num_kills):
        for name in {f"{number}", rng.choice([*wanted, f"{number}"])}:
            wanted[name] = [rng.randrange(10**9) for _ in range(rng.randint(1, 5))]
            land(folder, name, wanted[name])
        child = CHILDREN.Process(target=run, args=(str(folder),))
        child.start()
        child.join(rng.uniform(0.0, 0.15))
        child.kill()
        child.join(60)
        num_died += child.exitcode == -signal.SIGKILL
        if number % 5 == 4:  # The next run is unaided; now and then look after each of several kills in a row.
            run(str(folder))
            assert stored(folder) == sorted((name, value) for name, values in wanted.items() for value in values)
    return num_died


def test_twenty_random_kills_lose_and_double_nothing(tmp_path):
    assert draw(tmp_path, 20, seed=1) > 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_five_hundred_random_kills_lose_and_double_nothing(tmp_path):
    assert draw(tmp_path, 500, seed=2) > 100
