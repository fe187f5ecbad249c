"""Under which name each way to start Dagster loads a project."""

from pathlib import Path

import pytest
import yaml
from dagster_dg_core.context import DgContext

from mosaic_assets.cli.init import make_project
from mosaic_assets.orchestration.run import code_location

ROOT = Path(__file__).parents[3]


def dg_says(project: Path) -> str:
    return DgContext.from_file_discovery_and_command_line_config(project, {}).code_location_name


def test_location_name_is_the_same_for_dg_the_workspace_and_mosaic_up() -> None:
    (location,) = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    assert dg_says(ROOT) == code_location(ROOT) == location["python_module"]["location_name"] == "mosaic"


@pytest.mark.parametrize("named", [True, False])
def test_location_name_of_a_new_project(tmp_path: Path, named: bool) -> None:
    project = tmp_path / "My-Trips"
    make_project(project)
    file = project / "pyproject.toml"
    if not named:
        file.write_text(file.read_text().replace('code_location_name = "my_trips"\n', ""))
    assert dg_says(project) == code_location(project) == ("my_trips" if named else "My-Trips")
