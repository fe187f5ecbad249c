"""The lake: one commit, exactly once, no silent casts."""

import threading
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.lake import Lake, Upsert
from mosaic_resources.delta.writers import DeltaRsWriter
from mosaic_resources.errors import UnknownNameError, UserError


def rows(*numbers, month="2013-01"):
    return pa.table({"k": pa.array(numbers, pa.int64()), "month": [month] * len(numbers)})


def test_write_of_the_same_batch_twice_is_one_version(lake):
    assert lake.write("a/b", rows(1, 2), Commit("app", 1), mode="append") == 1
    assert lake.write("a/b", rows(1, 2), Commit("app", 1), mode="append") == 1
    assert lake.write("a/b", rows(3), Commit("app", 2), mode="append") == 2
    assert sorted(lake.read("a/b")["k"].to_pylist()) == [1, 2, 3]


def test_merge_stream_adds_changes_and_deletes_in_one_commit(lake):
    def upsert(added, changed, gone, offset, **also):
        return lambda last, _version: (
            Upsert(*map(months, (added, changed, gone)), offset, **also) if last < offset else None
        )

    def months(found):
        return pa.table({"k": pa.array(list(found), pa.int64()), "month": pa.array(list(found.values()), pa.string())})

    def play(read):
        return lake.merge_stream("n", "m", read, ["k"], schema=months({}).schema)

    first, then = upsert({1: "a", 2: "b"}, {}, {}, 1), upsert({3: "c"}, {1: "x"}, {2: "b"}, 2)
    assert [play(one) for one in (first, then, then)] == [2, 3, 0]
    assert dict(zip(*lake.read("n").to_pydict().values(), strict=True)) == {1: "x", 3: "c"}
    before = lake.version("n")
    assert play(upsert({7: "z"}, {}, {}, 3, replaces_all=True)) == 1
    assert (lake.read("n").to_pydict(), lake.version("n")) == ({"k": [7], "month": ["z"]}, before + 1)
    with pytest.raises(UserError, match="'month' is int64 but the table has string"):
        lake.merge_stream("n", "m", lambda last, _version: Upsert(*[pa.table({"k": [1], "month": [1]})] * 3, last + 1),
                          ["k"], schema=months({}).schema)  # fmt: skip


def test_write_of_an_older_batch_is_skipped(lake):
    lake.write("t", rows(1), Commit("app", 5), mode="append")
    lake.write("t", rows(2), Commit("app", 4), mode="append")
    assert lake.read("t")["k"].to_pylist() == [1]


def test_overwrite_by_predicate_keeps_the_other_partitions(lake):
    lake.write("t", pa.concat_tables([rows(1), rows(2, month="2013-02")]), Commit("app"), partition_by=["month"])
    lake.write("t", rows(9), Commit("app"), predicate="month in ('2013-01')", partition_by=["month"])
    assert sorted(lake.read("t")["k"].to_pylist()) == [2, 9]


def test_commit_names_who_made_it(lake):
    lake.write("t", rows(1), Commit("app", run_id="r1", asset="t", partition="2013-01", code_version="c"))
    entry = lake.history("t")[0]
    assert (entry["run_id"], entry["asset"], entry["partition"], entry["code_version"]) == ("r1", "t", "2013-01", "c")


def test_merge_updates_and_inserts(lake):
    lake.merge("t", rows(1, 2), ["k"], Commit("m"))
    lake.merge("t", pa.table({"k": [2, 3], "month": ["new", "new"]}), ["k"], Commit("m"))
    got = {row["k"]: row["month"] for row in lake.read("t").to_pylist()}
    assert got == {1: "2013-01", 2: "new", 3: "new"}


def test_append_stream_moves_on_from_the_tables_own_offset(lake):
    source = list(range(10))

    def read(last):
        return (rows(*source[last:]), len(source)) if last < len(source) else (None, last)

    assert lake.append_stream("t", "stream", read) == 10
    assert lake.append_stream("t", "stream", read) == 0
    source.extend([10, 11])
    assert lake.append_stream("t", "stream", read) == 2
    assert sorted(lake.read("t")["k"].to_pylist()) == list(range(12))


def test_append_stream_by_many_at_once_doubles_nothing(tmp_path):
    lakes = [Lake(str(tmp_path / "lake"), DeltaRsWriter()) for _ in range(4)]

    def read(last):
        return (rows(*range(last, 50)), 50) if last < 50 else (None, last)

    threads = [threading.Thread(target=lake.append_stream, args=("t", "stream", read)) for lake in lakes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(lakes[0].read("t")["k"].to_pylist()) == list(range(50))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pa.table({"k": [3.7], "month": ["x"]}), "Column 'k' is double but the table has int64"),
        (pa.table({"k": ["77"], "month": ["x"]}), "Column 'k' is string but the table has int64"),
        (pa.table({"k": [1]}), "Column 'month' of the table is missing"),
        (pa.table({"k": [1], "month": ["x"], "z": [1]}), "Column 'z' is not in the table"),
        (pa.table({"k": [1], "month": pa.nulls(1)}), "Column 'month' has no type"),
    ],
)
def test_append_refuses_what_would_be_cast_silently(lake, data, message):
    lake.write("t", rows(1), Commit("app"))
    with pytest.raises(UserError, match=message):
        lake.write("t", data, Commit("app"), mode="append")
    assert lake.num_rows("t") == 1


def test_times_are_microseconds_utc(lake):
    moment = datetime(2013, 1, 1, 12, tzinfo=UTC)
    lake.write("t", pa.table({"at": pa.array([moment], pa.timestamp("ns", tz="America/New_York"))}), Commit("app"))
    assert lake.schema("t").field("at").type == pa.timestamp("us", tz="UTC")
    assert lake.read("t")["at"].to_pylist() == [moment]


def test_old_versions_stay_readable(lake):
    lake.write("t", rows(1), Commit("app"))
    lake.write("t", rows(2), Commit("app"))
    assert lake.read("t", version=1)["k"].to_pylist() == [1]


def test_a_missing_table_says_what_to_do(lake):
    with pytest.raises(UserError, match="Table 'nope' has no rows yet.*Materialize 'nope' first"):
        lake.read("nope")


def test_an_unknown_column_names_the_nearest(lake):
    lake.write("t", rows(1), Commit("app"))
    with pytest.raises(UnknownNameError, match="Did you mean 'month'"):
        lake.read("t", columns=["mont"])


@pytest.mark.parametrize("name", ["../x", "a//b", "", "a/./b", "a\0b"])
def test_a_name_that_leaves_the_lake_is_refused(lake, name):
    with pytest.raises(UserError, match="is no table name"):
        lake.path(name)


def test_a_lake_of_another_family_is_refused(tmp_path):
    class OtherFamily(DeltaRsWriter):
        family = "delta-spark"

    Lake(str(tmp_path), DeltaRsWriter())
    with pytest.raises(UserError, match="written by delta-rs"):
        Lake(str(tmp_path), OtherFamily())


def test_column_mapping_is_refused_by_name(lake, tmp_path):
    path = lake.path("t")
    write_deltalake(path, rows(1))
    log = next((tmp_path / "lake" / "t" / "_delta_log").glob("*0.json"))
    log.write_text(log.read_text().replace('"configuration":{}', '"configuration":{"delta.columnMapping.mode":"name"}'))
    assert DeltaTable(path).metadata().configuration
    with pytest.raises(UserError, match="column mapping"):
        lake.read("t")


def test_an_evolving_partition_keeps_the_others_and_reads_null_there(lake):
    lake.write("t", pa.concat_tables([rows(1), rows(2, month="2013-02")]), Commit("app"), partition_by=["month"])
    wider = rows(1).append_column("new", pa.array([0.5]))
    lake.write("t", wider, Commit("app"), predicate="month in ('2013-01')", partition_by=["month"], evolve=True)
    assert {row["k"]: row["new"] for row in lake.read("t").to_pylist()} == {1: 0.5, 2: None}


def test_partitions_with_odd_values_read_back(lake):
    odd = ["a b", "ä/ö", "x%20y", "1=2", "'quoted'", None, "2013-07"]
    rows = pa.table({"part": odd, "n": pa.array(range(len(odd)), pa.int64())})
    lake.write("odd", rows, Commit("w"), partition_by=["part"])
    assert lake.read("odd").sort_by("n").to_pylist() == rows.to_pylist()
    assert lake.read("odd", filters=[("part", "==", "x%20y")])["n"].to_pylist() == [2]
    assert lake.head("odd", 3).num_rows == 3
