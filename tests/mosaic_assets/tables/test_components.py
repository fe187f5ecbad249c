"""Tables by PySpark and by dbt, from their own YAML, materialized for real on the shared engine."""

from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from dagster.components.testing import create_defs_folder_sandbox

from mosaic_resources.delta.commit import Commit
from mosaic_resources.seams import Seams
from mosaic_resources.settings.settings import load_settings

DEFS = """
type: mosaic_assets.tables.PySparkTableComponent
attributes:
  key: tables/legs
  description: Legs of each aircraft in order.
  python: legs.py
  inputs: [tables/arrivals]
  partition_by: month
  partitions_def: {type: monthly, start_date: "2013-06", end_date: "2013-09"}
  expectations:
    expect_or_quarantine: {has_tail: tailnum is not null}
    expect: {on_time: delay < 15}
---
type: mosaic_assets.tables.DbtTablesComponent
attributes:
  project: dbt_project
  owners: [team:flights]
"""
LEGS = """
from pyspark.sql import Window
from pyspark.sql import functions as F

def transform(tables, window):
    rows = tables["tables/arrivals"].where((F.col("at") >= F.lit(window[0])) & (F.col("at") < F.lit(window[1])))
    order = Window.partitionBy("tailnum").orderBy("at")
    return rows.select("tailnum", "at", "delay", F.row_number().over(order).alias("leg"),
                       F.date_format("at", "yyyy-MM").alias("month"))
"""
DBT = {
    "dbt_project.yml": """
name: tiny
version: "1.0"
config-version: 2
profile: tiny
model-paths: [models]
models:
  tiny:
    +file_format: delta
    +materialized: table
    marts:
      +location_root: "{{ env_var('MOSAIC_LAKE', 'lake') }}/marts"
""",
    "profiles.yml": """
tiny:
  target: session
  outputs:
    session: {type: spark, method: session, schema: default, host: NA, threads: 1}
""",
    "models/marts/tails.sql": """
select tailnum, sum(delay) as total_delay
from {{ source('tables', 'arrivals') }}
group by tailnum
""",
    "models/marts/tails.yml": """
version: 2
models:
  - name: tails
    description: Delay of each aircraft.
    columns:
      - {name: total_delay, data_tests: [not_null]}
      - {name: tailnum, data_tests: [not_null]}
""",
    "models/marts/sources.yml": """
version: 2
sources:
  - name: tables
    schema: delta
    quoting: {database: false, schema: false, identifier: false}
    tables:
      - {name: arrivals, identifier: "`{{ env_var('MOSAIC_LAKE', 'lake') }}/tables/arrivals`"}
""",
}
ARRIVALS = [
    ("N1", datetime(2013, 6, 9, tzinfo=UTC), 30.0),
    ("N1", datetime(2013, 7, 2, 9, tzinfo=UTC), 20.0),
    ("N1", datetime(2013, 7, 1, 9, tzinfo=UTC), 10.0),
    ("N2", datetime(2013, 7, 3, tzinfo=UTC), -5.0),
    (None, datetime(2013, 7, 4, tzinfo=UTC), 1.0),
]


@pytest.fixture(scope="module")
def project(engine: Any) -> Iterator[tuple[dg.Definitions, Seams]]:
    """A project of two components over one table, with its seams on the tests' engine."""
    with create_defs_folder_sandbox() as sandbox:
        root, folder = sandbox.project_root, sandbox.defs_folder_path / "story"
        files = {f"dbt_project/{name}": text for name, text in DBT.items()} | {"pyproject.toml": "[tool.dg]\n"}
        for path, text in {root / name: text for name, text in files.items()}.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.lstrip())
        folder.mkdir(parents=True)
        (folder / "defs.yaml").write_text(DEFS)
        (folder / "legs.py").write_text(LEGS)
        seams = Seams(load_settings(root, environ={}))
        seams.__dict__ |= {"engine": engine}
        tails, times, delays = zip(*ARRIVALS, strict=True)
        rows = {"tailnum": tails, "at": pa.array(times, pa.timestamp("us", tz="UTC")), "delay": delays}
        seams.lake.write("tables/arrivals", pa.table(rows), Commit("test"))
        with sandbox.build_all_defs() as definitions:
            yield definitions, seams


def materialize(project: tuple[dg.Definitions, Seams], key: str, **asked: Any) -> dg.ExecuteInProcessResult:
    definitions, seams = project
    assets = [asset for asset in definitions.assets or [] if isinstance(asset, dg.AssetsDefinition)]
    return dg.materialize(assets, selection=[key], resources={"mosaic": SimpleNamespace(seams=seams)}, **asked)


def specs(definitions: dg.Definitions) -> list[dg.AssetSpec]:
    assets = [asset for asset in definitions.assets or [] if isinstance(asset, dg.AssetsDefinition)]
    return [spec for asset in assets for spec in asset.specs]


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {check.check_name: check.passed for check in result.get_asset_check_evaluations()}


def test_pyspark_table_is_its_functions_rows_of_the_partition_sifted(project: tuple[dg.Definitions, Seams]) -> None:
    result = materialize(project, "tables/legs", partition_key="2013-07")
    lake = project[1].lake
    rows = lake.read("tables/legs").sort_by([("tailnum", "ascending"), ("leg", "ascending")]).to_pylist()
    assert [(row["tailnum"], row["leg"], row["delay"]) for row in rows] == [
        ("N1", 1, 10.0),
        ("N1", 2, 20.0),
        ("N2", 1, -5.0),
    ]
    assert [row["month"] for row in rows] == ["2013-07"] * 3
    held = lake.read("tables/legs__quarantine").to_pylist()
    assert [(row["tailnum"], row["_rules"]) for row in held] == [(None, '["has_tail"]')]
    assert checks(result) == {"has_tail": False, "on_time": False}
    (event,) = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    assert (metadata["dagster/row_count"].value, metadata["delta_version"].value) == (3, lake.version("tables/legs"))

    # Another month beside it, then the same once more: a partition is replaced, the others stay.
    for _ in range(2):
        materialize(project, "tables/legs", partition_key="2013-06")
    months = lake.read("tables/legs")["month"].to_pylist()
    assert sorted(months) == ["2013-06"] + ["2013-07"] * 3


def test_dbt_table_is_an_asset_with_its_tests_as_checks(project: tuple[dg.Definitions, Seams]) -> None:
    definitions, seams = project
    key = dg.AssetKey(["marts", "tails"])
    (spec,) = (spec for spec in specs(definitions) if spec.key == key)
    assert [dep.asset_key for dep in spec.deps] == [dg.AssetKey(["tables", "arrivals"])]
    said = (spec.description, spec.kinds, list(spec.owners))
    assert said == ("Delay of each aircraft.", {"delta", "dbt"}, ["team:flights"])
    result = materialize(project, "marts/tails")
    rows = {row["tailnum"]: row["total_delay"] for row in seams.lake.read("marts/tails").to_pylist()}
    assert rows == {"N1": 60.0, "N2": -5.0, None: 1.0}
    assert checks(result) == {"not_null_tails_tailnum": False, "not_null_tails_total_delay": True}
    (event,) = result.get_asset_materialization_events()
    lineage = event.materialization.metadata["dagster/column_lineage"].value.deps_by_column
    arrivals = dg.AssetKey(["tables", "arrivals"])
    assert lineage["total_delay"] == [dg.TableColumnDep(arrivals, "delay")]
