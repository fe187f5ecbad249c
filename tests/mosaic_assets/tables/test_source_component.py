"""A source declared in YAML: what it refuses, and what its asset shows."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
from dagster.components.core.component_tree import ComponentTreeException
from dagster.components.testing import create_defs_folder_sandbox

from mosaic_resources.seams import Seams
from mosaic_resources.settings.settings import load_settings

DEFS = """
type: mosaic_assets.tables.SourceTableComponent
attributes:
  key: raw/events
  path: events/*.json
  format: json
  schema_evolution_mode: add_new_columns
  changed_files: reload
  columns:
    user_id: {type: string, path: user.id}
"""


def materialize(text: str, *days: list[dict]) -> tuple[list[dg.MaterializeResult], list[dict]]:
    with create_defs_folder_sandbox() as sandbox:
        root, folder = sandbox.project_root, sandbox.defs_folder_path / "story"
        (root / "pyproject.toml").write_text("[tool.dg]\n")
        folder.mkdir(parents=True)
        (folder / "defs.yaml").write_text(text)
        seams = Seams(load_settings(root, environ={}))
        landed = Path(seams.settings.landing) / "events"
        landed.mkdir(parents=True)
        made = []
        with sandbox.build_all_defs() as definitions:
            (asset,) = (each for each in definitions.assets if isinstance(each, dg.AssetsDefinition))
            for rows in days:
                (landed / "1.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
                result = dg.materialize([asset], resources={"mosaic": SimpleNamespace(seams=seams)})
                made.append(result.get_asset_materialization_events()[0].materialization.metadata)
        return made, seams.lake.read("raw/events").to_pylist()


def test_json_evolves_and_is_reloaded_as_declared():
    (first, second), rows = materialize(
        DEFS, [{"user": {"id": "u1"}}], [{"user": {"id": "u1"}, "n": 1}, {"user": {"id": "u2"}, "n": 2}]
    )
    assert [column.name for column in first["dagster/column_schema"].value.columns][:2] == ["user_id", "user"]
    assert (second["added_columns"].value, second["reloaded_files"].value) == (["n"], 1)
    assert [(row["user_id"], row["user"], row["n"]) for row in rows] == [
        ("u1", '{"id": "u1"}', 1),
        ("u2", '{"id": "u2"}', 2),
    ]


def test_an_unknown_format_is_named_with_the_nearest():
    with pytest.raises(ComponentTreeException) as caught:
        materialize(DEFS.replace("format: json", "format: jason"))
    error, chain = caught.value, []
    while error is not None:
        chain.append(str(error))
        error = error.__cause__ or error.__context__
    assert re.search(r"defs.yaml:6.*: Format 'jason' is not declared. Did you mean 'json'", "\n".join(chain)), chain
