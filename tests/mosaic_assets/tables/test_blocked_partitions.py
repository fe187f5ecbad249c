"""Partitions that a blocking check refused: what is published, what Dagster asks for next, who may read."""

from datetime import UTC, datetime
from types import SimpleNamespace

import dagster as dg
import pyarrow as pa
import pytest
from dagster.components.testing import create_defs_folder_sandbox

from mosaic_resources.delta.commit import Commit
from mosaic_resources.errors import UserError
from mosaic_resources.seams import Seams
from mosaic_resources.settings.settings import load_settings

DEFS = """
type: mosaic_assets.tables.SqlTableComponent
attributes:
  key: tables/clean
  sql: clean.sql
  partition_by: month
  partitions_def: {type: monthly, start_date: "2024-01", end_date: "2024-05"}
  expectations:
    expect_or_fail: {positive: n > 0}
    expect_or_quarantine: {named: name is not null}
    expect: {small: n < 100}
  max_quarantined_share: 0.5
---
type: mosaic_assets.tables.SqlTableComponent
attributes:
  key: tables/below
  sql: below.sql
  partition_by: month
  partitions_def: {type: monthly, start_date: "2024-01", end_date: "2024-05"}
  automation_condition: eager
---
type: mosaic_assets.tables.SqlTableComponent
attributes:
  key: tables/total
  sql: total.sql
"""
SQL = {
    "clean.sql": "select n, name, month, _source_file from raw.events "
    "where month between :partition_key_start and :partition_key_end",
    "below.sql": "select n, month from tables.clean where month between :partition_key_start and :partition_key_end",
    "total.sql": "select sum(n) as total from tables.clean",
}
CLEAN, BELOW = dg.AssetKey(["tables", "clean"]), dg.AssetKey(["tables", "below"])


class Play:
    """A project with an instance, whose raw events the test sets."""

    def __init__(self, definitions, seams, instance):
        self.seams, self.instance = seams, instance
        assets = [asset for asset in definitions.assets if isinstance(asset, dg.AssetsDefinition)]
        self.defs = dg.Definitions(assets=assets, resources={"mosaic": SimpleNamespace(seams=seams)})
        self.tick = None

    def land(self, *events):
        numbers, names, months = zip(*events, strict=True)
        files = [f"{month}.csv" for month in months]
        rows = {"n": pa.array(numbers, pa.int64()), "name": pa.array(names, pa.string()), "month": months}
        self.seams.lake.write("raw/events", pa.table({**rows, "_source_file": files}), Commit("raw"))

    def run(self, key, first=None, last=None):
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last} if last else {}
        return self.defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance, asset_selection=[dg.AssetKey(key.split("/"))], raise_on_error=False,
            partition_key=None if last else first, tags=tags,
        )  # fmt: skip

    def requested(self):
        """Returns the partitions that automation asks for now, and runs them."""
        cursor = self.tick.cursor if self.tick else None
        self.tick = dg.evaluate_automation_conditions(self.defs, self.instance, cursor=cursor)
        asked = sorted(self.tick.get_requested_partitions(BELOW))
        for partition in asked:
            assert self.run("tables/below", partition).success
        return asked

    def numbers(self, table="tables/clean"):
        return sorted(self.seams.lake.read(table)["n"].to_pylist())

    def verdicts(self, check):
        key, storage = dg.AssetCheckKey(CLEAN, check), self.instance.event_log_storage
        records = storage.get_asset_check_execution_history(key, limit=50)
        latest = {}
        for record in reversed(records):
            latest[record.partition] = record.status.value == "SUCCEEDED"
        return latest


def failure(result):
    (event,) = (event for event in result.all_events if event.is_step_failure)
    return event.step_failure_data.error.cause or event.step_failure_data.error


MONTHLY = '{type: monthly, start_date: "2024-01", end_date: "2024-05"}'
STATIC = '{type: static, partition_keys: ["2024-01", "2024-02", "2024-03", "2024-04"]}'
# Of partitions of time, eager() asks for the latest alone.
of_any_partition = pytest.mark.parametrize("play", [STATIC], indirect=True)


@pytest.fixture
def play(engine, request):
    with create_defs_folder_sandbox() as sandbox:
        root, folder = sandbox.project_root, sandbox.defs_folder_path / "story"
        folder.mkdir(parents=True)
        (root / "pyproject.toml").write_text("[tool.dg]\n")
        (folder / "defs.yaml").write_text(DEFS.replace(MONTHLY, getattr(request, "param", MONTHLY)))
        for name, text in SQL.items():
            (folder / name).write_text(text)
        seams = Seams(load_settings(root, environ={}))
        seams.__dict__ |= {"engine": engine}
        with sandbox.build_all_defs() as definitions, dg.DagsterInstance.ephemeral() as instance:
            yield Play(definitions, seams, instance)


GOOD = [(1, "a", "2024-01"), (2, "b", "2024-02"), (3, "c", "2024-03")]


def test_each_evaluation_carries_its_partition_in_a_single_run_and_in_one_over_a_range(play):
    play.land(*GOOD)
    assert play.run("tables/clean", "2024-01", "2024-03").success
    assert play.run("tables/clean", "2024-01").success
    months = ["2024-01", "2024-02", "2024-03"]
    for check in ("positive", "named", "small", "quarantined_share"):
        assert play.verdicts(check) == dict.fromkeys(months, True)
    spec = play.defs.resolve_asset_graph().get_check_spec(dg.AssetCheckKey(CLEAN, "positive"))
    assert (spec.blocking, spec.partitions_def is not None) == (True, True)


@of_any_partition
def test_only_what_is_downstream_of_the_failed_partition_waits(play):
    play.land(*GOOD)
    assert play.requested() == []
    assert play.run("tables/clean", "2024-01", "2024-03").success
    assert play.requested() == ["2024-01", "2024-02", "2024-03"]
    assert play.requested() == []

    # February goes bad: January and March are published and followed, February keeps its rows and holds back its own.
    play.land((10, "a", "2024-01"), (-20, "b", "2024-02"), (30, "c", "2024-03"))
    result = play.run("tables/clean", "2024-01", "2024-03")
    assert not result.success
    message = failure(result).message
    assert "Expectation 'positive' (n > 0) fails for 1 of 1 rows of partition 2024-02, for instance" in message
    assert "Published: 2024-01, 2024-03." in message
    assert play.numbers() == [2, 10, 30]
    assert play.verdicts("positive") == {"2024-01": True, "2024-02": False, "2024-03": True}
    assert play.requested() == ["2024-01", "2024-03"]
    assert play.numbers("tables/below") == [2, 10, 30]
    assert play.requested() == []

    # Mended, February follows alone.
    play.land((10, "a", "2024-01"), (20, "b", "2024-02"), (30, "c", "2024-03"))
    assert play.run("tables/clean", "2024-02").success
    assert play.requested() == ["2024-02"]
    assert play.numbers("tables/below") == [10, 20, 30]


@of_any_partition
def test_a_good_partition_later_does_not_release_a_bad_one(play):
    play.land(*GOOD)
    play.requested()
    play.run("tables/clean", "2024-01", "2024-02")
    assert play.requested() == ["2024-01", "2024-02"]
    play.land((1, "a", "2024-01"), (-2, "b", "2024-02"), (3, "c", "2024-03"))
    assert not play.run("tables/clean", "2024-02").success
    assert play.requested() == []
    assert play.run("tables/clean", "2024-03").success
    assert play.requested() == ["2024-03"]


def test_a_run_of_the_reader_alone_is_refused_for_the_failed_partition_only(play):
    play.land((1, "a", "2024-01"), (-2, "b", "2024-02"))
    assert not play.run("tables/clean", "2024-01", "2024-02").success
    result = play.run("tables/below", "2024-02")
    assert not result.success
    message = failure(result).message
    assert "tables/below: Partition 2024-02 of table 'tables/clean' failed 'positive'" in message
    assert "run 'mosaic materialize tables/clean --partition 2024-02'" in message
    assert play.run("tables/below", "2024-01").success
    assert "Partition 2024-02" in failure(play.run("tables/total")).message  # It reads all of them.

    play.land(*GOOD)
    assert play.run("tables/clean", "2024-02").success
    assert play.run("tables/below", "2024-02").success
    assert play.run("tables/total").success


def test_a_first_attempt_that_fails_is_named_to_its_reader(play):
    play.land((-1, "a", "2024-01"))
    result = play.run("tables/clean", "2024-01")
    assert "Nothing was published." in failure(result).message
    assert not play.seams.lake.exists("tables/clean")
    assert "failed 'positive'" in failure(play.run("tables/below", "2024-01")).message


def test_more_bad_rows_than_the_limit_block_the_partition(play):
    play.land(
        (1, None, "2024-01"), (2, None, "2024-01"), (3, "c", "2024-01"), (4, None, "2024-02"), (5, "e", "2024-02")
    )
    result = play.run("tables/clean", "2024-01", "2024-02")
    assert (
        "2 of 3 rows of partition 2024-01 belong into quarantine, more than the limit of 50.00%"
        in failure(result).message
    )
    assert play.numbers() == [5]
    assert play.verdicts("quarantined_share") == {"2024-01": False, "2024-02": True}
    (held,) = play.seams.lake.read("tables/clean__quarantine").to_pylist()
    assert held == {"n": 4, "name": None, "month": "2024-02", "_source_file": "2024-02.csv", "_source_row": None,
                    "_rules": '["named"]'}  # fmt: skip


def test_metadata_says_where_the_quarantines_source_is_not_known(play):
    play.land(*GOOD)
    result = play.run("tables/clean", "2024-01")
    (event,) = result.get_asset_materialization_events()
    told = event.materialization.metadata["quarantine_source"].value
    assert told == "Unknown: the transform does not keep _source_row."


def test_an_older_version_than_the_failure_is_read_as_ever(play):
    play.land(*GOOD)
    assert play.run("tables/clean", "2024-01", "2024-03").success
    version = play.seams.lake.version("tables/clean")
    play.land((-1, "a", "2024-01"))
    assert not play.run("tables/clean", "2024-01").success
    assert not play.run("tables/total").success
    at = datetime(2024, 1, 1, tzinfo=UTC)
    with pytest.raises(UserError, match="Partition 2024-01"):
        play.seams.verdicts.check("tables/clean", version, "x", (), {})
    play.seams.verdicts.check("tables/clean", version - 1, "x", (), {})
    play.seams.verdicts.check(
        "tables/clean", version, "x", ("later",), {"later": (at.replace(month=4), at.replace(month=5))}
    )
