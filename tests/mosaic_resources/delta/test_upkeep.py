"""Upkeep of real tables: every row stays, pinned versions stay, what nothing needs goes."""

import os
import time
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from mosaic_resources.delta.changes import changes, commits
from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.history import read_history
from mosaic_resources.delta.rewrite import check_rewrite, optimize
from mosaic_resources.delta.upkeep import until_committed
from mosaic_resources.delta.vacuum import plan_vacuum, vacuum
from mosaic_resources.delta.versions import clone, restore
from mosaic_resources.errors import DependencyError, InternalError, UnknownNameError, UserError

NOW, WEEK = timedelta(0), timedelta(days=7)


def rows(*numbers, month="2013-01"):
    return pa.table({"k": pa.array(numbers, pa.int64()), "month": [month] * len(numbers)})


@pytest.fixture
def table(lake):
    """Version 4 of ``t`` holds 0..39 in four files."""
    for start in range(0, 40, 10):
        lake.write("t", rows(*range(start, start + 10)), Commit("app"), mode="append", partition_by=["month"])
    return "t"


def keys(lake, name="t", version=None):
    return sorted(lake.read(name, version)["k"].to_pylist())


def num_files(lake, name="t"):
    return len(lake.open(name).file_uris())


def data_files(lake, name="t"):
    return {str(file) for file in Path(lake.path(name)).rglob("*.parquet") if "_delta_log" not in str(file)}


def test_optimize_makes_one_file_of_many_and_keeps_every_row(lake, table):
    assert optimize(lake, table, Commit("up", run_id="r7", asset="upkeep/nightly"))
    assert (num_files(lake), keys(lake)) == (1, list(range(40)))
    newest = commits(lake, table, 1)[0]
    assert (newest.operation, newest.run_id, newest.asset, newest.version) == ("OPTIMIZE", "r7", "upkeep/nightly", 5)
    assert not optimize(lake, table, Commit("up"))
    assert lake.version(table) == 5


def test_clustering_rewrites_only_what_came_since(lake, table):
    lake.write(table, rows(*range(90, 70, -1), month="2013-02"), Commit("app"), mode="append")
    assert optimize(lake, table, Commit("up"), ["k"])
    assert not optimize(lake, table, Commit("up"), ["k"])
    january = {path for path in lake.open(table).file_uris() if "2013-01" in path}
    lake.write(table, rows(200, month="2013-02"), Commit("app"), mode="append")
    assert optimize(lake, table, Commit("up"), ["k"])
    assert num_files(lake) == 2
    assert january < set(lake.open(table).file_uris())
    february = [row["k"] for row in lake.read(table).to_pylist() if row["month"] == "2013-02"]
    assert sorted(february) == [*range(71, 91), 200]
    assert february[:20] == sorted(february[:20])


def test_clustering_by_other_columns_begins_anew(lake):
    data = pa.table({"a": [3, 1, 2], "b": [1.0, 2.0, 3.0]})
    lake.write("t", data, Commit("app"))
    assert optimize(lake, "t", Commit("up"), ["a", "b"])
    assert optimize(lake, "t", Commit("up"), ["b"])
    assert not optimize(lake, "t", Commit("up"), ["b"])


def test_clustering_by_what_is_no_column_is_refused(lake, table):
    with pytest.raises(UnknownNameError, match="column 'kk' is not declared"):
        optimize(lake, table, Commit("up"), ["kk"])
    with pytest.raises(UserError, match="'month' is a partition column"):
        optimize(lake, table, Commit("up"), ["month"])


def test_vacuum_keeps_the_pinned_version_and_says_what_it_costs(lake, table):
    optimize(lake, table, Commit("up"))
    lake.write(table, rows(1), Commit("app"))
    before = data_files(lake)
    plan = plan_vacuum(lake, table, NOW, {2: ["manifest m-1"]})
    assert data_files(lake) == before
    assert (plan.version, plan.unreadable, plan.pinned) == (6, [], {2: ["manifest m-1"]})
    assert len(plan.kept) == 2
    assert plan.kept_bytes == sum((Path(lake.path(table)) / path).stat().st_size for path in plan.kept)
    assert len(plan.removed) == 3  # the files of the third and the fourth append, and the compacted one
    assert plan.live_bytes > 0
    done = vacuum(lake, table, Commit("up", run_id="r8"), NOW, {2: ["manifest m-1"]})
    assert done.removed == plan.removed
    assert data_files(lake) == before - {f"{lake.path(table)}/{path}" for path in plan.removed}
    assert (keys(lake), keys(lake, version=2)) == ([1], list(range(20)))
    with pytest.raises(FileNotFoundError):
        lake.read(table, 3)
    assert plan_vacuum(lake, table, NOW, {3: ["m-2"]}).unreadable == [3]
    assert plan_vacuum(lake, table, NOW, {99: ["m-3"]}).unreadable == [99]
    # Once the pin is gone, so are its files; a vacuum that finds nothing commits nothing.
    assert vacuum(lake, table, Commit("up"), NOW, {}).removed_bytes == plan.kept_bytes
    version = lake.version(table)
    vacuum(lake, table, Commit("up"), NOW, {})
    assert lake.version(table) == version


def test_a_young_file_outlives_a_vacuum(lake, table):
    lake.write(table, rows(1), Commit("app"))
    assert not vacuum(lake, table, Commit("up"), WEEK, {}).removed
    assert keys(lake, version=2) == list(range(20))


def test_a_file_that_no_commit_names_goes_after_a_week_and_never_before(lake, table):
    left = Path(lake.path(table)) / "month=2013-01" / "left-by-a-killed-writer.parquet"
    left.write_bytes(b"half")
    assert not vacuum(lake, table, Commit("up"), NOW, {}).removed
    assert not vacuum(lake, table, Commit("up"), WEEK, {}).removed
    old = time.time() - 8 * 86400
    os.utime(left, (old, old))
    assert list(vacuum(lake, table, Commit("up"), WEEK, {}).removed.values()) == [4]
    assert not left.exists()
    assert keys(lake) == list(range(40))


def test_the_log_of_a_table_made_elsewhere_is_kept_whole_from_its_first_vacuum_on(lake):
    write_deltalake(lake.path("foreign"), rows(1))
    vacuum(lake, "foreign", Commit("up"), timedelta(days=30), {})
    configuration = lake.open("foreign").metadata().configuration
    assert configuration["delta.enableExpiredLogCleanup"] == "false"
    assert configuration["delta.deletedFileRetentionDuration"] == "interval 720 hours"
    version = lake.version("foreign")
    vacuum(lake, "foreign", Commit("up"), timedelta(days=30), {})
    assert lake.version("foreign") == version


def test_a_pinned_version_from_before_a_checkpoint_and_an_old_log_stays(lake, table):
    old = time.time() - 90 * 86400
    for number in range(210):  # A checkpoint comes at every hundredth commit; the second would cut the log.
        lake.write(table, rows(number), Commit("app"))
        if number == 150:
            for file in (Path(lake.path(table)) / "_delta_log").iterdir():
                os.utime(file, (old, old))
    log = {file.name for file in (Path(lake.path(table)) / "_delta_log").iterdir()}
    assert {"00000000000000000003.json", "_last_checkpoint"} < log, sorted(log)
    vacuum(lake, table, Commit("up"), NOW, {3: ["m"]})
    assert keys(lake, version=3) == list(range(30))


def test_restore_brings_a_version_back_and_refuses_one_that_is_gone(lake, table):
    lake.write(table, rows(7), Commit("app"))
    assert restore(lake, table, 2, Commit("up", run_id="r9")) == 6
    assert keys(lake) == list(range(20))
    assert commits(lake, table, 1)[0].run_id == "r9"
    vacuum(lake, table, Commit("up"), NOW, {})
    for version in (4, 99):
        with pytest.raises(UserError, match=f"t: Version {version} cannot be restored"):
            restore(lake, table, version, Commit("up"))
    assert keys(lake) == list(range(20))


def test_clone_is_a_table_of_its_own_and_made_once(lake, table):
    assert clone(lake, table, 2, "copies/t", Commit("up")) == 1
    assert clone(lake, table, 2, "copies/t", Commit("up")) == 1
    lake.write(table, rows(1), Commit("app"))
    vacuum(lake, table, Commit("up"), NOW, {})
    assert keys(lake, "copies/t") == list(range(20))
    assert lake.open("copies/t").metadata().partition_columns == ["month"]
    with pytest.raises(UserError, match="Table 't' exists already"):
        clone(lake, "copies/t", 1, table, Commit("up"))


def test_changes_of_each_kind_and_none_of_a_rewrite(lake, table):
    optimize(lake, table, Commit("up"))
    lake.merge(table, rows(0, 100, month="new"), ["k"], Commit("m"))
    lake.write(table, rows(5, month="2013-01"), Commit("app"), predicate="month = '2013-01'")
    seen = changes(lake, table, 5)
    kinds = {}
    for row in seen.to_pylist():
        kinds.setdefault((row["_commit_version"], row["_change_type"]), []).append(row["k"])
    assert {key: sorted(value) for key, value in kinds.items()} == {
        (6, "update_preimage"): [0], (6, "update_postimage"): [0], (6, "insert"): [100],
        (7, "delete"): list(range(1, 40)), (7, "insert"): [5],
    }  # fmt: skip
    assert changes(lake, table, 2, 3).num_rows == 20
    assert changes(lake, table, 8).num_rows == 0


def test_changes_say_why_there_are_none(lake, table):
    write_deltalake(lake.path("plain"), rows(1))
    with pytest.raises(UserError, match="plain: The table keeps no changes"):
        changes(lake, "plain", 0)
    lake.write(table, rows(1), Commit("app"))
    vacuum(lake, table, Commit("up"), NOW, {})
    with pytest.raises(UserError, match="The changes of versions 1 to 3 were vacuumed"):
        changes(lake, table, 1, 3)


def test_history_names_the_right_version_while_others_commit(lake, table):
    handle = lake.open(table)
    lake.write(table, rows(50), Commit("app", run_id="later"), mode="append")
    assert [entry["version"] for entry in read_history(handle, 2)] == [4, 3]
    assert [entry.get("run_id") for entry in read_history(lake.open(table), 1)] == ["later"]
    assert [entry["operation"] for entry in read_history(handle)] == ["WRITE"] * 4 + ["CREATE TABLE"]


def test_two_rewrites_at_once_are_noticed_and_taken_back(lake, table):
    from deltalake import CommitProperties

    stale = lake.open(table)
    optimize(lake, table, Commit("up"))
    late = Commit("up")
    stale.optimize.compact(commit_properties=CommitProperties(custom_metadata=late.metadata()))
    assert lake.num_rows(table) == 80  # The storage layer lets it through.
    with pytest.raises(DependencyError, match="Two rewrites of the same files came at once"):
        check_rewrite(lake, table, late)
    assert keys(lake) == list(range(40))
    stale = lake.open(table)
    lake.write(table, rows(40), Commit("app"), mode="append")
    optimize(lake, table, Commit("up"))
    late = Commit("up")
    stale.optimize.z_order(["k"], commit_properties=CommitProperties(custom_metadata=late.metadata()))
    lake.write(table, rows(41), Commit("app"), mode="append")
    with pytest.raises(InternalError, match="Rows are doubled since version 10.*Restore version 9"):
        check_rewrite(lake, table, late)


def test_upkeep_that_others_always_forestall_is_given_up(lake, table, monkeypatch):
    monkeypatch.setattr("mosaic_resources.delta.upkeep.MAX_ATTEMPTS", 2)

    def attempt(handle):
        lake.write(table, rows(*range(40)), Commit("other"))  # Another writer replaces every file first.
        handle.delete("k = 1")

    with pytest.raises(DependencyError, match="t: Other writers committed first at every attempt"):
        until_committed(lake, table, attempt)
    assert keys(lake) == list(range(40))


def test_commits_of_another_tool_are_shown_without_names(lake, table):
    DeltaTable(lake.path(table)).delete("k = 0")
    newest = commits(lake, table)[0]
    assert (newest.operation, newest.run_id, newest.version) == ("DELETE", "", 5)
