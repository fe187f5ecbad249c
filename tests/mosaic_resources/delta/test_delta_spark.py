"""The delta-spark family behind the same contract. Needs a JVM."""

from datetime import timedelta

import pyarrow as pa
import pytest

from mosaic_resources.delta.changes import changes, commits
from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.lake import Lake, Upsert
from mosaic_resources.delta.rewrite import optimize
from mosaic_resources.delta.vacuum import vacuum
from mosaic_resources.delta.versions import restore
from mosaic_resources.delta.writers import DeltaSparkWriter
from mosaic_resources.engine.session import SessionHolder
from mosaic_resources.engine.spark import SparkEngine
from mosaic_resources.errors import UserError

pytestmark = [pytest.mark.java, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def spark_lake(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spark")
    holder = SessionHolder(SparkEngine(folder / "engine"))
    yield Lake(str(folder / "lake"), DeltaSparkWriter(holder.session))
    holder.engine.stop()


def rows(*numbers, month="2013-01"):
    return pa.table({"k": pa.array(numbers, pa.int64()), "month": [month] * len(numbers)})


def test_the_same_batch_twice_is_one_version(spark_lake):
    first = spark_lake.write("a/b", rows(1, 2), Commit("app", 1), mode="append", partition_by=["month"])
    assert spark_lake.write("a/b", rows(1, 2), Commit("app", 1), mode="append") == first
    assert sorted(spark_lake.read("a/b")["k"].to_pylist()) == [1, 2]


def test_overwrite_by_predicate_and_merge(spark_lake):
    spark_lake.write("t", pa.concat_tables([rows(1), rows(2, month="2013-02")]), Commit("app"), partition_by=["month"])
    spark_lake.write("t", rows(9), Commit("app"), predicate="month = '2013-01'")
    spark_lake.merge("t", pa.table({"k": [9, 4], "month": ["2013-01", "2013-04"]}), ["k"], Commit("m"))
    assert sorted(spark_lake.read("t")["k"].to_pylist()) == [2, 4, 9]


def test_append_stream_moves_on_from_the_tables_own_offset(spark_lake):
    def read(last):
        return (rows(*range(last, 5)), 5) if last < 5 else (None, last)

    assert spark_lake.append_stream("s", "stream", read) == 5
    assert spark_lake.append_stream("s", "stream", read) == 0


def test_merge_stream_adds_changes_and_deletes_in_one_commit(spark_lake):
    def upsert(added, changed, gone, offset):
        return lambda last, _version: Upsert(*map(months, (added, changed, gone)), offset) if last < offset else None

    def months(found):
        return pa.table({"k": pa.array(list(found), pa.int64()), "month": pa.array(list(found.values()), pa.string())})

    first, then = upsert({1: "a", 2: "b"}, {}, {}, 1), upsert({3: "c"}, {1: "x"}, {2: "b"}, 2)
    schema = months({}).schema
    assert [spark_lake.merge_stream("n", "m", one, ["k"], schema=schema) for one in (first, then, then)] == [2, 3, 0]
    assert dict(zip(*spark_lake.read("n").to_pydict().values(), strict=True)) == {1: "x", 3: "c"}
    assert spark_lake.open("n").transaction_version("m") == 2


def test_upkeep_keeps_the_rows_and_refuses_to_lose_what_is_pinned(spark_lake):
    for number in range(3):
        spark_lake.write("u", rows(number), Commit("app"), mode="append", partition_by=["month"])
    assert optimize(spark_lake, "u", Commit("up", run_id="r1"), ["k"])
    assert not optimize(spark_lake, "u", Commit("up"), ["k"])
    assert commits(spark_lake, "u", 1)[0].run_id == "r1"
    assert sorted(spark_lake.read("u")["k"].to_pylist()) == [0, 1, 2]
    with pytest.raises(UserError, match="manifest m-1 needs version 2, which delta-spark cannot keep alone"):
        vacuum(spark_lake, "u", Commit("up"), timedelta(0), {2: ["manifest m-1"]})
    assert sorted(spark_lake.read("u", 2)["k"].to_pylist()) == [0, 1]
    newest = spark_lake.version("u")
    assert vacuum(spark_lake, "u", Commit("up"), timedelta(0), {newest: ["manifest m-2"]}).removed
    assert sorted(spark_lake.read("u")["k"].to_pylist()) == [0, 1, 2]
    with pytest.raises(FileNotFoundError):
        spark_lake.read("u", 2)


def test_restore_and_changes(spark_lake):
    for number in range(3):
        spark_lake.write("w", rows(number), Commit("app"), mode="append")
    restore(spark_lake, "w", 2, Commit("up", run_id="r2"))
    assert sorted(spark_lake.read("w")["k"].to_pylist()) == [0, 1]
    assert commits(spark_lake, "w", 1)[0].run_id == "r2"
    assert sorted(changes(spark_lake, "w", 1, 2)["k"].to_pylist()) == [0, 1]
