"""Column lineage of a PySpark table: what the plan tells, what is declared, what is said to be unknown."""

from types import SimpleNamespace

import dagster as dg
import pyarrow as pa
import pytest
from dagster.components.testing import create_defs_folder_sandbox

from mosaic_assets.tables.frame_columns import declared_columns, frame_columns
from mosaic_resources.delta.commit import Commit
from mosaic_resources.errors import UnknownNameError, UserError
from mosaic_resources.seams import Seams
from mosaic_resources.settings.settings import load_settings

DEFS = """
type: mosaic_assets.tables.PySparkTableComponent
attributes:
  key: tables/scored
  python: scored.py
  inputs: [tables/t]
  column_lineage: {score: [tables/t.a]}
"""
SCORED = """
from pyspark.sql import functions as F

def transform(tables, window):
    double = F.udf(lambda value: value * 2, "bigint")
    rows = tables["tables/t"]
    total = (F.col("a") + F.col("b")).alias("total")
    return rows.select("a", total, double("a").alias("score"), double("b").alias("other"))
"""


def rows():
    return pa.table({"a": pa.array([1, 2], pa.int64()), "b": pa.array([3, 4], pa.int64())})


@pytest.fixture
def frame(engine, lake):
    lake.write("tables/t", rows(), Commit("t"))
    engine.session().udf.register("mosaic_x", lambda value: value, "bigint")
    read = engine.session().read.format("delta").load(lake.path("tables/t"))
    return read.selectExpr("a", "a + b as c", "mosaic_x(a) as d")


def test_declared_columns_name_inputs_only():
    declared = declared_columns({"x": ["tables/t.a", "tables/u.b"], "y": []}, ["tables/t", "tables/u"], "f.yaml:7")
    assert declared == {"x": [("tables/t", "a"), ("tables/u", "b")], "y": []}
    with pytest.raises(UserError, match="f.yaml:7: 'a' names no column of a table"):
        declared_columns({"x": ["a"]}, ["tables/t"], "f.yaml:7")
    with pytest.raises(UnknownNameError, match="f.yaml:7: input 'tables/tt' is not declared. Did you mean 'tables/t'"):
        declared_columns({"x": ["tables/tt.a"]}, ["tables/t"], "f.yaml:7")


def test_what_is_declared_fills_what_the_plan_does_not_tell(lake, frame):
    told = frame_columns(frame, lake, {"tables/t": 1}, {}, "tables/x")
    assert told.known == {"a": (("tables/t", "a"),), "c": (("tables/t", "a"), ("tables/t", "b"))}
    assert told.note == "d: The function 'mosaic_x' may be one of Python. Declare them with column_lineage."
    told = frame_columns(frame, lake, {"tables/t": 1}, {"d": [("tables/t", "a")], "a": [("tables/t", "a")]}, "tables/x")
    assert (told.known["d"], told.unknown, told.note) == ([("tables/t", "a")], (), None)


def test_a_declaration_that_is_wrong_is_refused(lake, frame):
    for declared, message in (
        ({"dd": [("tables/t", "a")]}, "tables/x: column 'dd' is not declared. Did you mean 'd'"),
        ({"d": [("tables/t", "aa")]}, "column_lineage of 'd': column 'aa' is not declared"),
        ({"c": [("tables/t", "a")]}, "column_lineage of 'c' is declared, but its plan says tables/t.a, tables/t.b"),
    ):
        with pytest.raises(UserError, match=message):
            frame_columns(frame, lake, {"tables/t": 1}, declared, "tables/x")


def test_the_asset_shows_what_is_known_and_says_what_is_not(engine):
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.defs_folder_path / "story"
        folder.mkdir(parents=True)
        (sandbox.project_root / "pyproject.toml").write_text("[tool.dg]\n")
        (folder / "defs.yaml").write_text(DEFS)
        (folder / "scored.py").write_text(SCORED)
        seams = Seams(load_settings(sandbox.project_root, environ={}))
        seams.__dict__ |= {"engine": engine}
        seams.lake.write("tables/t", rows(), Commit("t"))
        with sandbox.build_all_defs() as definitions:
            assets = [asset for asset in definitions.assets if isinstance(asset, dg.AssetsDefinition)]
            result = dg.materialize(assets, resources={"mosaic": SimpleNamespace(seams=seams)})
    (event,) = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    source = dg.AssetKey(["tables", "t"])
    assert metadata["dagster/column_lineage"].value.deps_by_column == {
        "a": [dg.TableColumnDep(source, "a")],
        "total": [dg.TableColumnDep(source, "a"), dg.TableColumnDep(source, "b")],
        "score": [dg.TableColumnDep(source, "a")],
    }
    assert metadata["column_lineage_unknown"].value.startswith("other: A Python function hides")
    assert metadata["commits"].value.records[0].data["asset"] == "tables/scored"
