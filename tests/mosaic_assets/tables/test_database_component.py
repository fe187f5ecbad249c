"""A database declared in YAML: what it refuses with file and line, and what its asset shows."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster.components.testing import create_defs_folder_sandbox

from mosaic_assets.cli.init import make_project
from mosaic_assets.lineage.names import database_uses
from mosaic_assets.orchestration.validation import faults
from mosaic_resources.seams import Seams
from mosaic_resources.settings.settings import load_settings

DEFS = """
type: mosaic_assets.tables.DatabaseTableComponent
attributes:
  key: raw/orders
  address: postgresql://mosaic:${SHOP_PASSWORD}@HOST/postgres
  table: public.orders
  cursor_column: id
  columns: {amount: double}
"""


@pytest.fixture
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    root = tmp_path / f"shop_{abs(hash(request.node.name))}"  # a package is imported once for each name
    make_project(root)
    shutil.rmtree(root / root.name / "defs" / "trips")
    (root / root.name / "defs" / "shop").mkdir()
    return root


def declared(root: Path, text: str) -> list[str]:
    (root / root.name / "defs" / "shop" / "defs.yaml").write_text(text.lstrip())
    return [fault.message for fault in faults(root)]


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("${SHOP_PASSWORD}", "hush", "defs.yaml:4.*: The address holds a password. Write ${NAME} in its place"),
        ("postgresql://mosaic:${SHOP_PASSWORD}@HOST/postgres", "shop", "defs.yaml:4.*: 'shop' is no address"),
        ("table: public.orders", "group_name: shop", "defs.yaml:.*Exactly one of 'table' and 'query'"),
        ("table: public.orders", "query: 'select 1; drop table orders'", "defs.yaml:5.*: The query holds a semicolon"),
        (
            "amount: double",
            "amount: dubble",
            "defs.yaml:7.*: The column 'amount' has the type 'dubble'.*Did you mean 'double'",
        ),
        ("cursor_column: id", "cursor_lag: 5", "defs.yaml:.*'cursor_lag' needs 'cursor_column'"),
        ("${SHOP_PASSWORD}", "${SHOP_NOWHERE}", "defs.yaml:4: The environment variable 'SHOP_NOWHERE' is not set"),
        (
            "cursor_column",
            "cursor_colum",
            "defs.yaml:6: 'cursor_colum' is no attribute here. Did you mean 'cursor_column'",
        ),
    ],
)
def test_what_is_declared_wrongly_is_told_with_its_line(project, monkeypatch, old, new, match):
    monkeypatch.setenv("SHOP_PASSWORD", "s3cret")
    told = declared(project, DEFS.replace(old, new))
    assert re.search(match.replace("${NAME}", r"\$\{NAME\}"), "\n".join(told)), told
    assert "s3cret" not in "\n".join(told)


def test_what_is_declared_rightly_holds(project, monkeypatch):
    monkeypatch.setenv("SHOP_PASSWORD", "s3cret")
    assert declared(project, DEFS) == []


def test_its_asset_shows_what_came_and_where_from(postgres_address: str, monkeypatch: pytest.MonkeyPatch):
    psycopg: Any = pytest.importorskip("psycopg")
    pytest.importorskip("adbc_driver_postgresql", reason="the extra databases is not installed")
    with psycopg.connect(postgres_address, autocommit=True) as connection:
        connection.execute("drop table if exists orders")
        connection.execute("create table orders as select 1::bigint as id, 2.5::numeric as amount")
    host = postgres_address.removesuffix("/postgres").partition("@")[2]
    monkeypatch.setenv("SHOP_PASSWORD", "hushhush")
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.defs_folder_path / "story"
        (sandbox.project_root / "pyproject.toml").write_text("[tool.dg]\n")
        folder.mkdir(parents=True)
        (folder / "defs.yaml").write_text(DEFS.replace("HOST", host))
        seams = Seams(load_settings(sandbox.project_root, environ={}))
        with sandbox.build_all_defs() as definitions:
            (asset,) = (each for each in definitions.assets if isinstance(each, dg.AssetsDefinition))
            result = dg.materialize([asset], resources={"mosaic": SimpleNamespace(seams=seams)})
        (event,) = result.get_asset_materialization_events()
        told = event.materialization.metadata
        shown = (
            told["new_rows"].value,
            told["fetched_rows"].value,
            told["cursor"].value,
            told["dagster/row_count"].value,
        )
        assert shown == (1, 1, "1", 1)
        names = [column.name for column in told["dagster/column_schema"].value.columns]
        assert names[:2] == ["amount", "id"]
        (row,) = seams.lake.read("raw/orders").to_pylist()
        assert (row["amount"], row["_source_file"]) == (2.5, f"postgresql://{host}/postgres#1")
        assert (f"postgres://{host}", "postgres.public.orders") in seams.outbox.datasets()
        everything = [file.read_bytes() for file in sandbox.project_root.rglob("*") if file.is_file()]
        assert not any(b"hushhush" in content for content in everything)


@pytest.mark.parametrize(
    ("origin", "query", "names"),
    [
        (
            "postgresql://db/shop",
            "with a as (select * from s.t) select * from a join u using (id)",
            ["shop.s.t", "shop.u"],
        ),
        ("mysql+pymysql://db/shop", "select * from `t`", ["shop.t"]),
        ("postgresql://db/shop", "this is (no query", ["shop"]),
    ],
)
def test_the_tables_that_a_query_reads_are_told(origin, query, names):
    assert sorted(use.name for use in database_uses(origin, query)) == names
