"""First declarations: every component type of ours scaffolds into YAML that holds, and together into a story."""

import json
import re
import shutil
import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import ClassVar

import dagster as dg
import pytest
import yaml
from dagster.components.component_scaffolding import scaffold_object
from pydantic import BaseModel, Field, create_model
from typer.testing import CliRunner

from mosaic_assets.asset_fields import AssetFields
from mosaic_assets.cli.init import make_project
from mosaic_assets.cli.main import app
from mosaic_assets.declaration_template import declaration, sample_files
from mosaic_assets.orchestration.validation import faults
from mosaic_assets.orchestration.yaml_check import check_documents
from mosaic_resources.errors import InternalError
from mosaic_resources.settings.clock import set_simulated_clock

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
ROOMS = PROJECT["entry-points"]["dagster_dg_cli.registry_modules"].values()
TYPES = [f"{room}.{name}" for room in ROOMS for name in import_module(room).__all__]
EVENTS = """event_id,thing_id,started_at,ended_at,amount
a1,N1,2023-12-01T08:00:00,2023-12-01T10:20:00,20
a2,N1,2023-12-01T12:00:00,2023-12-01T14:05:00,5
a3,N2,2024-01-02T09:00:00,2024-01-02T11:40:00,40
a4,N2,2024-01-02T15:00:00,,
"""


def scaffold(root: Path, typename: str) -> Path:
    folder = root / root.name / "defs" / typename.rpartition(".")[2]
    scaffold_object(folder, typename, None, "yaml", root)
    return folder / "defs.yaml"


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "hushhush")  # Examples refer to it.


@pytest.mark.parametrize("typename", TYPES)
def test_each_type_scaffolds_into_yaml_that_fits_its_schema(tmp_path: Path, typename: str):
    root = tmp_path / f"one_{typename.rpartition('.')[2].lower()}"
    make_project(root)
    file = scaffold(root, typename)
    assert yaml.safe_load(file.read_text())["type"] == typename
    assert check_documents(root) == []
    named = [value for value in yaml.safe_load(file.read_text())["attributes"].values() if isinstance(value, str)]
    assert [name for name in named if name.endswith((".sql", ".py")) and not (file.parent / name).exists()] == []
    told = "".join(each.read_text() for each in file.parent.iterdir())
    assert not re.search("flight|aircraft|delay_|carrier|origin", told), (
        "a first declaration speaks of the example story"
    )
    # Every optional line fits too, once its mark is taken away.
    lines = file.read_text().splitlines()
    file.write_text("\n".join(re.sub(r"^  # (?!Optional)", "  ", line) for line in lines))
    component = getattr(import_module(typename.rpartition(".")[0]), typename.rpartition(".")[2])
    fields = {field.alias or name for name, field in component.model_fields.items()}
    assert set(yaml.safe_load(file.read_text())["attributes"]) == fields
    assert check_documents(root) == []


def test_the_first_declarations_make_one_story_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("DAGSTER_HOME", "MOSAIC_STATE", "MOSAIC_LANDING", "MOSAIC_LAKE", "MOSAIC_TARGET"):
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "scaffolded_story"
    make_project(root)
    shutil.rmtree(root / root.name / "defs" / "trips")
    for typename in TYPES:
        if not typename.endswith("DbtTablesComponent"):  # It needs a dbt project beside it.
            scaffold(root, typename)
    assert faults(root) == []
    set_simulated_clock(root / ".mosaic", datetime(2024, 2, 1, tzinfo=UTC))
    (root / "landing" / "events").mkdir(parents=True)
    (root / "landing" / "events" / "1.csv").write_text(EVENTS)
    keys = [
        "raw/events",
        "tables/events",
        "tables/steps",
        "features/my_view",
        "features/my_windows",
        "datasets/my_dataset",
    ]
    command = ["materialize", *keys, "--project", str(root), "--output", "json"]
    outcome = CliRunner().invoke(app, command)
    assert outcome.exit_code == 0, outcome.output
    state = json.loads(CliRunner().invoke(app, ["status", "--project", str(root), "--output", "json"]).stdout)
    rows = {row["table"]: row["rows"] for row in state["tables"]}
    assert rows == dict(zip(keys, (4, 4, 4, 3, 4, 3), strict=True))


class LampComponent(AssetFields, dg.Component, dg.Resolvable):
    """A lamp.

    It shines.
    """

    scaffolded: ClassVar[Sequence[str]] = ("colour",)
    name: str = Field(description="Its name.", examples=["desk"])
    colour: str | None = Field(None, description="What it shines in.", examples=["warm white"])

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Returns nothing."""
        return dg.Definitions()


def test_a_component_derived_from_ours_scaffolds_alike():
    text = declaration(LampComponent, "my.LampComponent", LampComponent.scaffolded)
    note = "# Names are examples: put your own. What each field takes stands beside it."
    head = ["# A lamp.", note, "type: my.LampComponent", "attributes:", "  name: desk  # Its name.",
            "  colour: warm white  # What it shines in."]  # fmt: skip
    assert text.splitlines()[:6] == head
    assert "  # owners: ['team:data']  # E-mail addresses or team:<name>." in text.splitlines()
    assert sample_files(LampComponent) == {}


def test_a_field_to_write_without_an_example_is_refused():
    class Bare(BaseModel):
        """Bare."""

        name: str
        size: int | None = None
        weight: float = Field(2.5, description="In kilograms.")

    with pytest.raises(InternalError, match=r"Bare: The field 'name' has no example\. Give it 'examples'\."):
        declaration(Bare, "my.Bare")
    with pytest.raises(InternalError, match=r"'size' has no example"):
        declaration(create_model("Derived", __base__=Bare, name=(str, "x")), "my.Derived", ("size",))


def test_a_component_without_required_fields_is_declared_empty():
    class Bare(BaseModel):
        """Bare."""

        weight: float = Field(2.5, description="In kilograms.")

    text = declaration(Bare, "my.Bare")
    assert yaml.safe_load(text) == {"type": "my.Bare", "attributes": {}}
    assert yaml.safe_load(declaration(Bare, "my.Bare", ("weight",)))["attributes"] == {"weight": 2.5}


def test_scaffolding_in_python_is_dagsters_own(tmp_path: Path):
    scaffold_object(tmp_path / "in_python", "mosaic_assets.tables.SqlTableComponent", None, "python", tmp_path)
    assert "@dg.component_instance" in (tmp_path / "in_python" / "component.py").read_text()
    assert [file.name for file in (tmp_path / "in_python").iterdir()] == ["component.py"]
