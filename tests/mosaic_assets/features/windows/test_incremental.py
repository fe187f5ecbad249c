"""Run by run is at once: whatever came, late, twice, corrected, deleted, killed, side by side or by partition."""

import multiprocessing
import os
import signal
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from window_events import EVENTS, late, minutes, table, view

from mosaic_assets.features.windows.incremental import update
from mosaic_assets.features.windows.rows import window_rows
from mosaic_resources.delta.changes import changes
from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.lake import Lake
from mosaic_resources.delta.rewrite import optimize
from mosaic_resources.delta.writers import DeltaRsWriter
from mosaic_resources.errors import UserError

SOURCE, TABLE = "raw/events", "features/v"
CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload(["mosaic_assets.features.windows.incremental", "pyarrow.dataset", "pyarrow.parquet"])
SHAPES = st.sampled_from([{}, {"windows": (1, 30)}, {"slide": 3}, {"slide": 2, "windows": (4, 8)}])
STEPS = st.lists(st.tuples(st.sampled_from(["append", "append", "replace", "delete", "upkeep", "made anew"]), EVENTS),
                 min_size=1, max_size=4)  # fmt: skip


def run(lake, made, span=None, partition=""):
    return update(lake, made, lake.version(SOURCE), Commit("windows"), span, partition)


def same_rows(lake, made, version=None):
    left, right = lake.read(TABLE), window_rows(made, lake.read(SOURCE, version))
    by = [(name, "ascending") for name in ("k", "event_ts", "known_ts")]
    return left.select(right.column_names).sort_by(by).equals(right.sort_by(by))


def play(lake, kind, draws):
    rows = table(late(draws))
    match kind:
        case "append":
            lake.write(SOURCE, rows, Commit("more"), mode="append")
        case "replace":  # A table that is computed anew: most rows come back as they were.
            there = lake.read(SOURCE)
            lake.write(SOURCE, pa.concat_tables([there.slice(2), rows.slice(0, 3)]), Commit("all"))
        case "delete":
            lake.write(SOURCE, table([]), Commit("some"), predicate="k = 'a' AND x = 3.0")
        case "upkeep":
            optimize(lake, SOURCE, Commit("upkeep"))
            if lake.exists(TABLE):
                optimize(lake, TABLE, Commit("upkeep"))
        case "made anew":
            lake.write(SOURCE, rows, Commit("all"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SHAPES, EVENTS, STEPS)
def test_run_by_run_is_at_once(tmp_path_factory, shape, first, steps):
    lake, made = Lake(str(tmp_path_factory.mktemp("lake")), DeltaRsWriter()), view(**shape)
    for kind, draws in [("append", first), *steps]:
        play(lake, kind, draws)
        run(lake, made)
        assert same_rows(lake, made)
        assert run(lake, made) == 0


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SHAPES, EVENTS, STEPS, st.randoms())
def test_partition_by_partition_is_at_once(tmp_path_factory, shape, first, steps, random):
    lake, made = Lake(str(tmp_path_factory.mktemp("lake")), DeltaRsWriter()), view(**shape)
    for kind, draws in [("append", first), *steps]:
        play(lake, kind, draws)
        spans = [(start, start + 10) for start in range(-10, 80, 10)]
        random.shuffle(spans)
        for start, end in spans:
            run(lake, made, (minutes(start), minutes(end)), str(start))
        assert same_rows(lake, made)


def many(seed, count, start=0):
    rng = np.random.default_rng(seed)
    at = start + rng.integers(0, 2000, count)
    lateness = np.where(rng.random(count) < 0.1, rng.integers(0, 500, count), 0)
    keys = [f"k{i}" for i in rng.integers(0, 20, count)]
    return table([(k, int(e), int(e + n), float(x)) for k, e, n, x in
                  zip(keys, at, lateness, rng.normal(size=count), strict=True)])  # fmt: skip


def test_only_what_is_touched_is_read_and_written(lake):
    made = view(windows=(30, 60))
    lake.write(SOURCE, many(0, 3000), Commit("first"), mode="append")
    run(lake, made)
    before = lake.version(TABLE)
    lake.write(SOURCE, table([("k1", 5000, 5000, 1.0), ("new", 5000, 5001, 2.0)]), Commit("more"), mode="append")
    assert run(lake, made) == 2
    lake.write(SOURCE, table([("k1", 4990, 5003, 1.0)]), Commit("late"), mode="append")
    assert run(lake, made) == 2  # Its own row, and a correction of the row ten minutes later.
    news = changes(lake, TABLE, before + 1)
    assert set(news["_change_type"].to_pylist()) == {"insert"}
    assert same_rows(lake, made)


class StoppingWriter(DeltaRsWriter):
    """A writer whose process ends itself before or after a commit."""

    def __init__(self, point):
        super().__init__()
        self.point = point

    def stop(self, name):
        if name == self.point:
            os.kill(os.getpid(), signal.SIGKILL)

    def create(self, *told):
        super().create(*told)
        self.stop("created")

    def write(self, *told, **also):
        self.stop("before write")
        super().write(*told, **also)
        self.stop("after write")

    def merge(self, *told, **also):
        self.stop("before merge")
        super().merge(*told, **also)
        self.stop("after merge")


def run_and_die(root, point):
    run(Lake(root, StoppingWriter(point)), view(slide=5, windows=(10, 40)))


@pytest.mark.parametrize("point", ["created", "before write", "after write", "before merge", "after merge"])
def test_a_run_killed_at_its_commit_is_made_good_by_the_next(lake, point):
    made = view(slide=5, windows=(10, 40))
    lake.write(SOURCE, many(0, 300), Commit("first"), mode="append")
    if "merge" in point:
        run(lake, made)
        lake.write(SOURCE, many(1, 50, start=1500), Commit("more"), mode="append")
    child = CHILDREN.Process(target=run_and_die, args=(lake.root, point))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert (run(lake, made) == 0) == point.startswith("after")
    assert same_rows(lake, made)


def run_when_told(root, barrier, version):
    barrier.wait(60)
    lake = Lake(root, DeltaRsWriter())
    update(lake, view(windows=(10, 40)), version, Commit("windows"))


def test_two_runs_at_once_write_each_row_once(lake):
    made = view(windows=(10, 40))
    lake.write(SOURCE, many(0, 300), Commit("first"), mode="append")
    for number in range(1, 7):
        lake.write(SOURCE, many(number, 40, start=300 * number), Commit("more"), mode="append")
        newest = lake.version(SOURCE)
        barrier = CHILDREN.Barrier(2)
        versions = (newest, newest - number % 2)  # Now and then one has seen less.
        children = [CHILDREN.Process(target=run_when_told, args=(lake.root, barrier, v)) for v in versions]
        for child in children:
            child.start()
        for child in children:
            child.join(60)
        assert [child.exitcode for child in children] == [0, 0]
        assert same_rows(lake, made)


def test_another_definition_begins_anew_and_so_does_the_first_when_it_is_back(lake):
    lake.write(SOURCE, many(0, 300), Commit("first"), mode="append")
    first, other = view(slide=5, windows=(10,)), view(slide=2, windows=(10,))
    for made in (first, other, first):
        run(lake, made)
        assert same_rows(lake, made)
    fewer = view(windows=(3,))
    run(lake, fewer)
    assert same_rows(lake, fewer)


def test_a_source_whose_changes_are_gone_is_read_whole(lake):
    made = view()
    lake.write(SOURCE, many(0, 300), Commit("first"), mode="append")
    run(lake, made)
    lake.write(SOURCE, many(1, 30), Commit("second"))
    lake.write(SOURCE, many(2, 30), Commit("third"))
    lake.open(SOURCE).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    run(lake, made)
    assert same_rows(lake, made)


def test_partitions_refuse_other_features(lake):
    lake.write(SOURCE, many(0, 30), Commit("first"), mode="append")
    span = (minutes(0), minutes(0) + timedelta(days=2))
    run(lake, view(windows=(3,)), span, "0")
    with pytest.raises(UserError, match="holds other features than are declared now"):
        run(lake, view(windows=(4,)), span, "0")


def test_rows_without_a_key_are_nobodys(lake):
    lake.write(SOURCE, table([("a", 1, 1, 1.0)]), Commit("first"), mode="append")
    run(lake, view())
    lake.write(SOURCE, table([(None, 2, 2, 1.0)]), Commit("more"), mode="append")
    assert run(lake, view()) == 0
    assert pc.all(pc.equal(lake.read(TABLE)["k"], "a")).as_py()
