"""Upkeep killed at what it leaves on disk: no row lost, no pinned version lost, the next run completes it."""

import os
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.rewrite import optimize
from mosaic_resources.delta.vacuum import plan_vacuum, vacuum

CHILD = Path(__file__).parent / "upkeep_child.py"
NUM_FILES, NUM_ROWS = 60, 20_000


@pytest.fixture
def table(lake):
    """Partitioned, so that a rewrite makes several files one after the other; version 2 is pinned."""
    numbers = np.random.default_rng(7)
    for file in range(NUM_FILES):
        keys = np.arange(file * NUM_ROWS, (file + 1) * NUM_ROWS)
        data = pa.table({"k": keys, "x": numbers.random(NUM_ROWS), "month": [f"m{file % 6}"] * NUM_ROWS})
        lake.write("t", data, Commit("app"), mode="append", partition_by=["month"])
    return "t"


def data_files(lake):
    return {str(file) for file in Path(lake.path("t")).rglob("*.parquet") if "_delta_log" not in str(file)}


def newest(lake):
    return max(int(file.stem) for file in (Path(lake.path("t")) / "_delta_log").glob("*[0-9].json"))


def at_version(lake, version):
    return sum(lake.read("t", version)["k"].to_numpy()), lake.num_rows("t", version)


def run_until(lake, what, reached):
    """Stops the child as soon as ``reached`` holds, then kills it; returns whether it was caught before its end."""
    child = subprocess.Popen(
        [sys.executable, str(CHILD), lake.root, what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "ready\n"
    child.stdin.write("go\n")
    child.stdin.flush()
    deadline = time.monotonic() + 60
    while child.poll() is None and not reached() and time.monotonic() < deadline:
        pass
    caught = child.poll() is None
    if caught:
        os.kill(child.pid, signal.SIGSTOP)
        os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    return caught


BARRIERS = {
    "begun": lambda lake, files, version: lambda: True,
    "first file written": lambda lake, files, version: lambda: data_files(lake) - files,
    "fourth file written": lambda lake, files, version: lambda: len(data_files(lake) - files) >= 4,
    "committed": lambda lake, files, version: lambda: newest(lake) > version,
    "first file removed": lambda lake, files, version: lambda: files - data_files(lake),
    "many files removed": lambda lake, files, version: lambda: len(files - data_files(lake)) >= 30,
}


@pytest.mark.parametrize("what", ["optimize", "cluster"])
@pytest.mark.parametrize("barrier", ["begun", "first file written", "fourth file written", "committed"])
def test_a_killed_rewrite_loses_nothing(lake, table, what, barrier):
    version, before = newest(lake), at_version(lake, None)
    caught = run_until(lake, what, BARRIERS[barrier](lake, data_files(lake), version))
    assert caught or barrier != "begun"  # The machine may be quicker than the eye, but not than the first look.
    assert at_version(lake, None) == at_version(lake, version) == before
    optimize(lake, table, Commit("up"), ["k"] if what == "cluster" else [])
    assert at_version(lake, None) == before
    assert len(lake.open(table).file_uris()) == 6
    # What the killed one left goes with the first vacuum that may touch what is a week old.
    old = time.time() - 8 * 86400
    for file in data_files(lake):
        os.utime(file, (old, old))
    vacuum(lake, table, Commit("up"), timedelta(days=7), {})
    assert data_files(lake) <= {uri.removeprefix("file://") for uri in _needed(lake)}
    assert at_version(lake, None) == at_version(lake, version) == before


def _needed(lake):
    return {uri for version in range(1, newest(lake) + 1) for uri in lake.open("t", version).file_uris()}


@pytest.mark.parametrize("barrier", ["begun", "committed", "first file removed", "many files removed"])
def test_a_killed_vacuum_loses_nothing_that_is_needed(lake, table, barrier):
    optimize(lake, table, Commit("up"))
    version, before, pinned = newest(lake), at_version(lake, None), at_version(lake, 2)
    caught = run_until(lake, "vacuum", BARRIERS[barrier](lake, data_files(lake), version))
    assert caught or barrier != "begun"
    assert (at_version(lake, None), at_version(lake, 2)) == (before, pinned)
    done = vacuum(lake, table, Commit("up"), timedelta(0), {2: ["m"]})
    assert not done.unreadable
    assert (at_version(lake, None), at_version(lake, 2)) == (before, pinned)
    assert not plan_vacuum(lake, table, timedelta(0), {2: ["m"]}).removed
    assert len(data_files(lake)) == 6 + 2


@pytest.mark.parametrize("what", ["optimize", "vacuum"])
def test_kills_at_any_time_lose_nothing(lake, table, what):
    draw = random.Random(20130101)
    version, before, pinned = newest(lake), at_version(lake, None), at_version(lake, 2)
    if what == "vacuum":
        optimize(lake, table, Commit("up"))
    for _ in range(6):
        until = time.monotonic() + draw.random() * 0.25
        run_until(lake, what, lambda until=until: time.monotonic() > until)
        assert (at_version(lake, None), at_version(lake, 2)) == (before, pinned)
    assert newest(lake) >= version
