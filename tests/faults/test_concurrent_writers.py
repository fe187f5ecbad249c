"""Two writers of every pair on one table: what is read is what the commits in the log's order make, each once."""

import itertools
import threading
from datetime import timedelta

import pyarrow as pa
import pytest

from mosaic_resources.delta.changes import commits
from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.lake import Lake
from mosaic_resources.delta.rewrite import optimize
from mosaic_resources.delta.vacuum import vacuum
from mosaic_resources.delta.writers import DeltaRsWriter

KINDS = ("append", "merge", "overwrite", "replace_part", "optimize", "cluster", "vacuum")
UPKEEP = KINDS[4:]


def rows(values, month):
    return pa.table({"k": list(values), "v": list(values.values()), "month": [month] * len(values)})


def job(kind, writer, number):
    """Returns (key → value to write, partition)."""
    start = 1000 * (writer + 1) + 10 * number
    values = {start + i: f"{kind}-{writer}-{number}" for i in range(3)}
    shared = {0: f"{kind}-{writer}-{number}"} if kind == "merge" else {}
    return {**values, **shared}, "a" if kind == "merge" else "ab"[writer % 2]


def act(lake, kind, writer, number):
    name = f"{kind}-{writer}-{number}"
    commit = Commit(f"app-{writer}", run_id=name)
    values, month = job(kind, writer, number)
    if kind in ("append", "overwrite"):
        lake.write("t", rows(values, month), commit, mode=kind)
    elif kind == "replace_part":
        lake.write("t", rows(values, month), commit, predicate=f"month = '{month}'")
    elif kind == "merge":
        lake.merge("t", rows(values, month), ["k"], commit)
    elif kind == "vacuum":
        vacuum(lake, "t", commit, timedelta(0), {})
    else:
        optimize(lake, "t", commit, ["k"] if kind == "cluster" else [])


def replayed(entries, begun):
    """Returns key → (value, month) of the rows that must be there, and of those that may be.

    Delta orders writes, not reads: an append that lands while an overwrite is under way may count as after it.
    """
    must, may = {}, {}
    for entry in entries:
        kind, writer, number = entry.run_id.split("-")
        values, month = job(kind, int(writer), int(number))
        if kind in ("overwrite", "replace_part"):
            hit = {key for key, row in must.items() if kind == "overwrite" or row[1] == month}
            in_flight = {key for key in hit if must[key][2] > begun[entry.run_id] and must[key][0].startswith("append")}
            may |= {key: must[key] for key in in_flight}
            must = {key: row for key, row in must.items() if key not in hit}
            early = {key for key, row in may.items() if row[2] <= begun[entry.run_id]}
            may = {
                key: row for key, row in may.items() if not (key in early and (kind == "overwrite" or row[1] == month))
            }
        if kind not in UPKEEP:
            must |= {key: (value, month, entry.version) for key, value in values.items()}
    return must, may


@pytest.mark.parametrize(("left", "right"), list(itertools.combinations_with_replacement(KINDS, 2)))
def test_two_writers_lose_and_double_nothing(tmp_path, left, right):
    play(tmp_path, left, right, num_rounds=6)


@pytest.mark.slow
@pytest.mark.parametrize(("left", "right"), list(itertools.combinations_with_replacement(KINDS, 2)))
def test_two_writers_for_longer_lose_and_double_nothing(tmp_path, left, right):
    play(tmp_path, left, right, num_rounds=40)


def play(tmp_path, left, right, num_rounds):
    root, begin, wrong = str(tmp_path / "lake"), threading.Barrier(2), []
    begun = {}
    lakes = [Lake(root, DeltaRsWriter()) for _ in range(2)]
    first = rows(*job("append", 2, 0))
    lakes[0].write("t", first, Commit("first", run_id="append-2-0"), mode="append", partition_by=["month"])
    for number in range(1, 8):
        act(lakes[0], "append", 2 + number % 2, number)

    def work(writer, kind):
        try:
            begin.wait()
            for number in range(num_rounds):
                begun[f"{kind}-{writer}-{number}"] = lakes[writer].version("t")
                act(lakes[writer], kind, writer, number)
        except Exception as exc:
            wrong.append(exc)

    threads = [threading.Thread(target=work, args=(writer, kind)) for writer, kind in enumerate((left, right))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    told = [entry for entry in reversed(commits(lakes[0], "t")) if entry.run_id]
    for writer, kind in enumerate((left, right)):
        if kind not in UPKEEP:  # Each acknowledged write is one commit.
            done = [entry.run_id for entry in told if entry.run_id.startswith(f"{kind}-{writer}-")]
            assert done == [f"{kind}-{writer}-{number}" for number in range(num_rounds)]
    got = {row["k"]: (row["v"], row["month"]) for row in lakes[0].read("t").to_pylist()}
    assert len(got) == lakes[0].num_rows("t")
    must, may = replayed(told, begun)
    assert {key: row[:2] for key, row in must.items()}.items() <= got.items()
    assert got.items() <= {key: row[:2] for key, row in (may | must).items()}.items()
    for key in got.keys() - must.keys():  # A commit is there whole or not at all.
        assert {other for other, row in may.items() if row[0] == got[key][0]} <= got.keys()
