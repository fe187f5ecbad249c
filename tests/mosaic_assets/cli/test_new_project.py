"""A new project, from ``mosaic init`` to a trace, by the commands that its README names."""

import json
import re
import shlex
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from mosaic_assets.cli.init import first_commands, make_project
from mosaic_assets.cli.main import app
from mosaic_resources.delta.lake import Lake
from mosaic_resources.delta.writers import DeltaRsWriter
from mosaic_resources.errors import UserError


def run(*arguments: str, exit_code: int = 0) -> str:
    outcome = CliRunner().invoke(app, list(arguments))
    assert outcome.exit_code == exit_code, outcome.output
    return outcome.stdout


def told(*arguments: str, exit_code: int = 0) -> Any:
    return json.loads(run(*arguments, "--output", "json", exit_code=exit_code))


@pytest.fixture
def quiet_home(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DAGSTER_HOME", "OPENLINEAGE_URL", "MOSAIC_STATE", "MOSAIC_LANDING", "MOSAIC_LAKE", "MOSAIC_TARGET"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("quiet_home")
def test_new_project_runs(tmp_path: Path, validate: Callable[[Mapping[str, Any]], None]) -> None:
    project = tmp_path / "init-runs"
    made = told("init", str(project))
    assert "init_runs/defs/trips/defs.yaml" in made["files"]
    here = ("--project", str(project))
    assert told("validate", *here) == []
    (first,) = told("materialize", "raw/trips+", *here)
    assert first["assets"] == ["raw/trips", "tables/trips", "features/station_trips"]
    assert first["set_aside"] == {
        "raw/trips": "1 of 60 rows hold something that does not fit: see the column _rescued_data",
        "tables/trips": "1 of 59 rows break a rule: see tables/trips__quarantine",
    }

    state = told("status", *here)
    rows = {row["table"]: row["rows"] for row in state["tables"]}
    assert rows == {"raw/trips": 60, "tables/trips": 58, "tables/trips__quarantine": 1, "features/station_trips": 58}
    assert state["lineage"]["waiting"] == 0
    assert "tables/trips" in run("status", *here)

    way = told("trace", "asset", "features/station_trips", *here)
    table = way["children"][0]["children"][0]
    assert (way["kind"], table["name"]) == ("feature view", "raw/trips")
    assert [child["name"] for child in table["children"]] == [str(project / "landing/trips/2024-01.csv")]
    assert "features/station_trips" in run("trace", "file", "2024-01.csv", *here)
    assert "was logged" in told("trace", "prediction", "nothing", *here, exit_code=1)["message"]

    events = [json.loads(line) for line in (project / ".mosaic" / "openlineage.jsonl").read_text().splitlines()]
    assert len(events) == 8
    for event in events:
        validate(event)
    view = next(e for e in events if e["job"]["name"] == "features/station_trips" and e["eventType"] == "COMPLETE")
    lineage = view["outputs"][0]["facets"]["columnLineage"]["fields"]
    assert lineage["event_ts"]["inputFields"][0]["field"] == "ended_at"

    findings = {finding["about"]: finding["verdict"] for finding in told("doctor", "--no-engine", *here)}
    assert findings["lineage"] == findings["python"] == findings["mlflow"] == "ok"


@pytest.mark.usefixtures("quiet_home")
def test_the_readme_of_a_new_project_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "init-readme"
    make_project(project)
    monkeypatch.chdir(project)
    readme = (project / "README.md").read_text()
    for name in re.findall(r"^\| `([^`]+)`", readme, re.M):
        assert (project / name).is_file(), name
    (lines,) = re.findall(r"^```\n(mosaic .*?)^```", readme, re.M | re.S)
    said = [run(*shlex.split(line)[1:]) for line in lines.splitlines()]
    assert "raw/trips: 1 of 60 rows hold something" in said[1]
    shown = re.findall(r"`mosaic (quarantine show [^`]+)`", readme)
    assert re.search(r"^ 17 +park .* -5.0 ", run(*shown[0].split()), re.M)

    # 1. A second file: only it is read.
    january = project / "landing" / "trips" / "2024-01.csv"
    february = "\n".join(january.read_text().replace("2024-01-", "2024-02-").splitlines()[:4]) + "\n"
    january.with_name("2024-02.csv").write_text(february)
    run("materialize", "raw/trips+")
    trips = Lake(str(project / ".mosaic" / "lake"), DeltaRsWriter()).read("raw/trips", columns=["_source_file"])
    assert sorted(Counter(trips["_source_file"].to_pylist()).values()) == [3, 60]

    # 2. A column more: the table and what stands on it are made anew, and nothing else.
    query = project / "init_readme" / "defs" / "trips" / "trips.sql"
    query.write_text(query.read_text().replace("  distance_km,", "  distance_km, distance_km * 1000 as distance_m,"))
    assert told("validate") == []
    monkeypatch.delitem(sys.modules, "init_readme.definitions")  # As in a process of its own.
    (made,) = told("materialize", "--changed")
    assert made["assets"] == ["tables/trips", "features/station_trips"]


@pytest.mark.usefixtures("quiet_home")
def test_the_readmes_model_is_trained_and_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "init-model"
    make_project(project)
    monkeypatch.chdir(project)
    readme = (project / "README.md").read_text()
    for kind, name in (("yaml", "defs.yaml"), ("sql", "labels.sql")):
        (text,) = re.findall(rf"into `(init_model/defs/model/{name})`:\n```{kind}\n(.*?)^```", readme, re.M | re.S)
        Path(text[0]).parent.mkdir(exist_ok=True)
        Path(text[0]).write_text(text[1])
    (lines,) = re.findall(r"^```bash\n(mosaic .*?)^```", readme, re.M | re.S)
    validate_it, make, serve, curl, stop = (shlex.split(line)[1:] for line in lines.splitlines())
    assert told(*validate_it) == []
    (made,) = told(*make)
    assert made["assets"][3:] == ["datasets/long_trips", "online/long_trip", "models/long_trip", "services/long_trip"]
    (lock,) = (project / ".mosaic").glob("bentoml/bentos/long_trip/*/src/requirements.lock")
    assert lock.read_text().startswith("# As installed where this was built")

    def ask(**headers: str) -> Any:
        endpoint = told(*serve, "--port", "0")
        body, route = json.loads(curl[-1]), curl[1].removeprefix("http://127.0.0.1:8000")
        try:
            return httpx.post(f"http://127.0.0.1:{endpoint['port']}{route}", json=body, headers=headers).json()
        finally:
            run(*stop)

    assert set(ask()["missing_features"]) == {"station_trips__mean_minutes_3", "station_trips__distance_km"}
    (then,) = re.findall(r"x-mosaic-time: ([^`]+)`", readme)
    run(*shlex.split(re.findall(r"`mosaic (clock [^`]+)`", readme)[0]))
    answer = ask(**{"x-mosaic-time": then})
    assert not answer["missing_features"]
    assert 0 < answer["predictions"][0]["probability"] < 1


@pytest.mark.usefixtures("quiet_home")
def test_old_files_lead_from_an_empty_split_to_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "init-old"
    make_project(project)
    monkeypatch.chdir(project)
    landed = project / "landing" / "trips" / "2024-01.csv"
    for month in ("2019-05", "2019-06"):
        text = landed.read_text().replace("2024-01-", f"{month}-")
        landed.with_name(f"{month}.csv").write_text(re.sub(r"^(\d)", rf"{month[-1]}\1", text, flags=re.M))
    landed.unlink()
    defs = project / "init_old" / "defs" / "model"
    defs.mkdir()
    (yaml,), (sql,) = (
        re.findall(rf"^```{kind}\n(.*?)^```", (project / "README.md").read_text(), re.M | re.S)
        for kind in ("yaml", "sql")
    )
    declared = "---\n".join(yaml.split("---\n")[:2])
    (defs / "defs.yaml").write_text(
        re.sub(r"  split:.*\n  time_col:.*\n", "  split: {validation_months: 1}\n", declared)
    )
    (defs / "labels.sql").write_text(sql)
    told("materialize", "raw/trips", "tables/trips", "features/station_trips")
    refused = told("materialize", "datasets/long_trips", exit_code=1)
    assert re.fullmatch(r".*init_old/defs/model/defs\.yaml:14, long_trips", refused["where"])
    assert "the 116 rows have it from 2019-05-01 to 2019-06-03" in refused["message"]
    (command,) = re.findall(r"mosaic (clock \S+)'", refused["message"])
    run(*command.split())
    assert told("materialize", "datasets/long_trips")[0]["assets"] == ["datasets/long_trips"]
    assert told("status")["simulated_now_utc"] == "2019-07-01T00:00:00+00:00"


def test_init_prints_commands_that_work_when_pasted(tmp_path: Path) -> None:
    scripts = tmp_path / "an environment" / "bin"
    scripts.mkdir(parents=True)
    whole = first_commands(Path("my project"), scripts, None)
    assert whole[:2] == ["cd 'my project'", f"'{scripts}/mosaic' validate"]
    assert first_commands(Path("x"), scripts, "/usr/bin/mosaic")[1] == whole[1]
    (scripts / "activate").write_text("")
    assert first_commands(Path("x"), scripts, None)[:3] == [f"source '{scripts}/activate'", "cd x", "mosaic validate"]
    assert first_commands(Path("x"), scripts, str(scripts / "mosaic"))[0] == "cd x"


@pytest.mark.usefixtures("quiet_home")
@pytest.mark.parametrize("activated", [True, False])
def test_what_init_prints_runs_in_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, activated: bool) -> None:
    scripts = sysconfig.get_path("scripts")
    monkeypatch.setenv("PATH", f"{scripts}:/usr/bin:/bin" if activated else "/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    printed = told("init", "pasted")["next"]
    assert any("activate" in line for line in printed) != activated or not (Path(scripts) / "activate").is_file()
    looks = [line for line in printed if "materialize" not in line]  # Another test runs that.
    done = subprocess.run(["bash", "-ec", "\n".join(looks)], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "valid"), done.stderr


COMPARED = """
import dagster as dg

@dg.asset(key=["models", "trips"])
def trips() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"comparison": "roc_auc 0.7000 → 0.7100 on the same 90 validation rows"})
"""


@pytest.mark.usefixtures("quiet_home")
def test_materialize_tells_how_each_model_compares(tmp_path: Path) -> None:
    project = tmp_path / "compares"
    told("init", str(project))
    (project / "compares" / "defs" / "model.py").write_text(COMPARED)
    here = ("--project", str(project))
    line = "roc_auc 0.7000 → 0.7100 on the same 90 validation rows"
    assert f"models/trips: {line}" in run("materialize", "models/trips", *here)
    made = told("materialize", "models/trips", "raw/trips", *here)
    assert [run["comparisons"] for run in made] == [{"models/trips": line}]


def test_make_project_refuses(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    with pytest.raises(UserError, match="There is something here already"):
        make_project(tmp_path / "full")
    for name in ("1st", "class", "bento"):
        with pytest.raises(UserError, match=f"'{name}' makes no name for a Python package"):
            make_project(tmp_path / name)


def test_commands_outside_a_project(tmp_path: Path) -> None:
    for verb in (["status"], ["validate"], ["doctor"], ["trace", "asset", "x"]):
        assert "No project here" in told(*verb, "--project", str(tmp_path), exit_code=1)["message"]


@pytest.mark.usefixtures("quiet_home")
def test_materialize_keeps_lineage_of_a_dead_collector_and_of_a_failed_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "init-waits"
    make_project(project)
    here = ("--project", str(project))
    monkeypatch.setenv("OPENLINEAGE_URL", "http://127.0.0.1:9")
    outcome = CliRunner().invoke(app, ["materialize", "raw/trips", "--output", "json", *here])
    assert (outcome.exit_code, len(json.loads(outcome.stdout))) == (0, 1)
    assert "Lineage waits in the outbox" in outcome.stderr
    assert told("status", *here)["lineage"]["waiting"] == 2
    monkeypatch.delenv("OPENLINEAGE_URL")
    (project / "init_waits" / "defs" / "trips" / "trips.sql").write_text("select nothing_of_this from raw.trips")
    refused = told("materialize", "tables/trips", *here, exit_code=1)
    place = "tables/trips, init_waits/defs/trips/trips.sql:1"
    assert (refused["error"], refused["where"]) == ("UserError", place)
    assert refused["message"].startswith(f"{place}: Column 'nothing_of_this' is not in raw.trips. Known: ")
    assert told("status", *here)["lineage"]["waiting"] == 0
    events = (project / ".mosaic" / "openlineage.jsonl").read_text().splitlines()
    assert json.loads(events[-1])["eventType"] == "FAIL"
