"""The quarantine: shown, released after a fix, each row once, whatever dies between."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from mosaic_assets.cli.main import app
from mosaic_assets.tables.expectations import rules_of
from mosaic_assets.tables.quarantine import chosen, quarantined, release, summary
from mosaic_resources.delta.commit import Commit
from mosaic_resources.errors import UserError

CHILD = Path(__file__).parents[2] / "faults" / "release_child.py"
SCHEMA = pa.schema({"n": "int64", "month": "string"})


def rules(**conditions):
    return rules_of({"expect_or_quarantine": conditions or {"positive": "n > 0"}}, "here")


@pytest.fixture
def held(lake):
    """Two good rows; five that wait, two of them for good reason."""
    good = pa.table({"n": [1, 2], "month": ["a", "b"]}, SCHEMA)
    lake.write("tables/t", good, Commit("t"), partition_by=["month"])
    waiting = pa.table({"n": [10, 20, -1, 30, None], "month": ["a", "a", "a", "b", "b"]}, SCHEMA)
    reasons = pa.array(['["even"]'] * 4 + ['["even", "known"]'])
    waiting = waiting.append_column("_source_file", pa.array([f"{i}.csv" for i in range(5)])).append_column(
        "_rules", reasons
    )
    lake.write("tables/t__quarantine", waiting, Commit("q"), partition_by=["month"])
    return lake


def numbers(lake, table="tables/t"):
    return sorted(lake.read(table)["n"].to_pylist(), key=lambda n: (n is None, n))


def let_go(lake, engine, wanted=None, **how):
    return release(
        lake,
        engine.session(),
        "tables/t",
        rules() if wanted is None else wanted,
        Commit("r"),
        partition_by="month",
        **how,
    )


def test_rows_that_the_rules_let_through_now_are_released_once(engine, held):
    done = let_go(held, engine)
    assert (done.num_rows, done.num_left, done.partitions) == (3, 2, ["a", "b"])
    assert numbers(held) == [1, 2, 10, 20, 30]
    assert numbers(held, "tables/t__quarantine") == [-1, None]
    assert held.read("tables/t").column_names == ["n", "month"]
    again = let_go(held, engine)
    assert (again.num_rows, again.num_left, again.version) == (0, 2, done.version)
    assert numbers(held) == [1, 2, 10, 20, 30]


def test_a_partition_or_a_condition_chooses(engine, held):
    assert let_go(held, engine, partition="b").num_rows == 1
    assert let_go(held, engine, where="n >= 20").num_rows == 1
    assert numbers(held) == [1, 2, 20, 30]
    assert numbers(held, "tables/t__quarantine") == [-1, 10, None]
    rows = chosen(engine.session(), quarantined(held, "tables/t"), "n < 100", ("month", "a"))
    assert rows["n"].to_pylist() == [10, -1]
    assert chosen(None, quarantined(held, "tables/t"), None, ("month", "b")).num_rows == 1


def test_every_rule_that_keeps_a_row_out_is_asked_again(engine, held):
    wanted = rules_of(
        {"expect_or_drop": {"big": "n > 10"}, "expect_or_fail": {"small": "n < 30"}, "expect": {"odd": "n % 2 = 1"}},
        "x",
    )
    assert let_go(held, engine, wanted).num_rows == 1
    assert numbers(held) == [1, 2, 20]
    assert let_go(held, engine, rules_of({}, "x")).num_rows == 4  # Without rules nothing keeps a row out.


def test_a_column_that_the_table_gained_since_is_null(engine, held):
    held.write(
        "tables/t", pa.table({"n": [3], "month": ["c"], "late": [True]}), Commit("t"), mode="append", evolve=True
    )
    let_go(held, engine, partition="b")
    assert {"n": 30, "month": "b", "late": None} in held.read("tables/t").to_pylist()


def test_what_waits_is_counted_by_table_partition_and_rule(held):
    assert summary(held, ["tables/t", "tables/t__quarantine"], {"tables/t": "month"}) == [
        {"table": "tables/t", "partition": "a", "rule": "even", "rows": 3},
        {"table": "tables/t", "partition": "b", "rule": "even", "rows": 2},
        {"table": "tables/t", "partition": "b", "rule": "known", "rows": 1},
    ]


def test_wrong_asks_are_refused(engine, held):
    with pytest.raises(UserError, match="Table 'tables/none' has no quarantine"):
        quarantined(held, "tables/none")
    with pytest.raises(UserError, match="Table 'tables/t' has no partitions"):
        release(held, engine.session(), "tables/t", rules(), Commit("r"), partition="a")


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_killed_release_is_completed_by_the_next(engine, held, number, when):
    remote = engine.engine.spark_config()["spark.remote"]
    child = subprocess.run([sys.executable, str(CHILD), held.root, remote, str(number), when], check=False, timeout=120)
    assert child.returncode == -signal.SIGKILL
    done = let_go(held, engine, where="false" if number > 1 or when == "after" else None)
    assert numbers(held) == [1, 2, 10, 20, 30]
    assert numbers(held, "tables/t__quarantine") == [-1, None]
    assert done.num_rows == (0 if (number, when) == (3, "after") else 3)


PROJECT = {
    "pyproject.toml": '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "held_rows"\n'
    'code_location_target_module = "held_rows.definitions"\ndefs_module = "held_rows.defs"\n',
    "held_rows/__init__.py": "",
    "held_rows/definitions.py": "from pathlib import Path\nimport dagster as dg\n"
    "from mosaic_resources.dagster import resources\n"
    "@dg.definitions\ndef defs():\n    here = Path(__file__).parent\n"
    "    return dg.Definitions.merge(dg.load_from_defs_folder(path_within_project=here), "
    "dg.Definitions(resources=resources(here)))\n",
    "held_rows/defs/__init__.py": "",
    "held_rows/defs/t/t.sql": "select n, month, _source_file, _source_row from raw.t",
    "held_rows/defs/t/defs.yaml": """
type: mosaic_assets.tables.SourceTableComponent
attributes: {key: raw/t, path: "t/*.csv", columns: {n: bigint, month: string}}
---
type: mosaic_assets.tables.SqlTableComponent
attributes:
  key: tables/t
  sql: t.sql
  partition_by: month
  expectations: {expect_or_quarantine: {small: n < 10}}
""",
    "landing/t/1.csv": "n,month\n1,a\n20,a\n30,b\n",
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name in ("DAGSTER_HOME", "MOSAIC_STATE", "MOSAIC_LANDING", "MOSAIC_LAKE", "MOSAIC_TARGET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MOSAIC_LANDING", str(tmp_path / "p" / "landing"))
    for name, text in PROJECT.items():
        file = tmp_path / "p" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for name in [name for name in sys.modules if name.startswith("held_rows")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path / "p"))
    return tmp_path / "p"


def told(project, *arguments, exit_code=0):
    outcome = CliRunner().invoke(app, [*arguments, "--project", str(project), "--output", "json"])
    assert outcome.exit_code == exit_code, outcome.output
    return json.loads(outcome.stdout)


def test_the_commands_list_show_and_release_and_tell_dagster(project):
    from mosaic_assets.orchestration.run import instance_of

    told(project, "materialize", "raw/t", "tables/t")
    assert told(project, "quarantine", "list") == [
        {"table": "tables/t", "partition": "a", "rule": "small", "rows": 1},
        {"table": "tables/t", "partition": "b", "rule": "small", "rows": 1},
    ]
    (row,) = told(project, "quarantine", "show", "tables/t", "--partition", "b")
    assert row == {"n": 30, "month": "b", "_source_file": "t/1.csv", "_source_row": 3, "_rules": '["small"]'}
    (row,) = told(project, "quarantine", "show", "tables/t", "--where", "n < 25")
    assert row["n"] == 20
    done = told(project, "quarantine", "release", "tables/t")
    assert (done["num_rows"], done["num_left"]) == (0, 2)

    file = project / "held_rows/defs/t/defs.yaml"
    file.write_text(file.read_text().replace("n < 10", "n < 25"))
    for name in [name for name in sys.modules if name.startswith("held_rows")]:
        del sys.modules[name]
    done = told(project, "quarantine", "release", "tables/t")
    assert (done["num_rows"], done["num_left"], done["partitions"]) == (1, 1, ["a"])
    with instance_of(project / ".mosaic") as instance:
        import dagster as dg

        event = instance.get_latest_materialization_event(dg.AssetKey(["tables", "t"]))
    assert event.asset_materialization.metadata["rows_released"].value == 1
    assert event.asset_materialization.tags["dagster/data_version"] == str(done["version"])

    assert "is not declared" in told(project, "quarantine", "show", "tables/x", exit_code=1)["message"]
    wrong = told(project, "quarantine", "show", "tables/t", "--where", "nope = 1", exit_code=1)
    assert "The query" in wrong["message"]
    text = CliRunner().invoke(app, ["quarantine", "list", "--project", str(project)]).stdout
    assert "small" in text
