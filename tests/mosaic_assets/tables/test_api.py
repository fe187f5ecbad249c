"""A raw table from an HTTP service that pages, limits, fails and hangs up: every record once, or one clear error."""

import json
import multiprocessing
import os
import re
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster.components.testing import create_defs_folder_sandbox

from mosaic_assets.cli.init import make_project
from mosaic_assets.orchestration.validation import faults
from mosaic_assets.tables.api.load import service_source
from mosaic_assets.tables.cursor import load
from mosaic_assets.tables.evolution import columns_of
from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.lake import Lake
from mosaic_resources.delta.writers import DeltaRsWriter
from mosaic_resources.errors import DependencyError, UserError
from mosaic_resources.http.pagination import Paging
from mosaic_resources.http.service import HttpService
from mosaic_resources.seams import Seams
from mosaic_resources.settings.settings import load_settings

CHILDREN = multiprocessing.get_context("forkserver")
HEADERS = {"Authorization": "Bearer ${SHOP_TOKEN}"}
PAGES = {
    "page": Paging("page", "page"),
    "offset": Paging("offset", "offset", size_param="limit", size=2),
    "cursor": Paging("cursor", "after", "next.after"),
    "link": Paging("link_header"),
    "next": Paging("next_url", path="next.url"),
}
FAULTS = ["cut before", "cut within", "cut unseen", 500, 502, 503, 429, "later", "later by date", "silent"]


class Shop:
    """What the shop holds and does next."""

    def __init__(self, address: str, folder: Path) -> None:
        self.address, self.folder = address, folder

    def put(self, *rows: tuple[int, str], **also: Any) -> None:
        file = self.folder / "orders.json"
        known = json.loads(file.read_text()) if file.exists() else []
        told = [{"id": number, "at": at, "buyer": {"name": "ä"}, **also} for number, at in rows]
        file.write_text(json.dumps(known + told))

    def fails(self, *told: Any) -> None:
        (self.folder / "faults.json").write_text(json.dumps(told))

    def asked(self) -> list[str]:
        return [line.split()[0] for line in (self.folder / "asked").read_text().splitlines()]


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("shop")
    script = str(Path(__file__).with_name("shop_server.py"))
    process, port = start_server(lambda port: [sys.executable, script, str(port), str(folder)])
    yield f"http://127.0.0.1:{port}", folder
    process.terminate()
    process.wait()


@pytest.fixture
def shop(server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> Shop:
    for file in server[1].iterdir():
        file.unlink()
    monkeypatch.setenv("SHOP_TOKEN", "hushhush")
    return Shop(*server)


def bring(shop: Shop, lake: Lake, kind: str = "cursor", barrier: Any = lambda name: None, **told: Any) -> Any:
    asked = {"records": "data.orders", "paging": PAGES.get(kind, Paging()), "headers": HEADERS, **told}
    service = HttpService(f"{shop.address}/{kind}", "raw/orders", timeout_seconds=1, **asked)
    source = service_source(
        service, origin="shop", columns=columns_of({"at": "timestamp"}, "t"), mode="add_new_columns", cursor="at",
        cursor_param="since", lag=0, rescued="_rescued_data",
    )  # fmt: skip
    now = datetime(2024, 1, 1, tzinfo=UTC)
    return load(lake, "raw/orders", source, now_utc=now, commit=Commit("t"), barrier=barrier)


def ids(lake: Lake) -> list[int]:
    return sorted(lake.read("raw/orders")["id"].to_pylist())


@pytest.mark.parametrize("kind", PAGES)
def test_all_pages_come_and_then_those_from_the_cursor_on(shop: Shop, lake: Lake, kind: str):
    shop.put(*((number, f"2024-01-0{number}T00:00:00Z") for number in range(1, 6)))
    assert bring(shop, lake, kind).num_rows == 5
    shop.put((6, "2024-01-05T00:00:00Z"), (7, "2024-01-06T00:00:00Z"))
    before = len(shop.asked())
    report = bring(shop, lake, kind)
    assert (report.num_rows, report.num_fetched) == (2, 3)
    assert all("since=2024-01-05" in path for path in shop.asked()[before:])
    assert bring(shop, lake, kind).num_rows == 0
    assert ids(lake) == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_what_passes_is_tried_again_and_no_page_is_lost_or_doubled(shop: Shop, lake: Lake, fault: Any):
    shop.put(*((number, f"2024-01-0{number}T00:00:00Z") for number in range(1, 6)))
    shop.fails(fault, None, fault, fault)
    assert bring(shop, lake).num_rows == 5
    assert ids(lake) == [1, 2, 3, 4, 5]
    assert len(shop.asked()) == 6


def test_the_wait_that_the_service_asks_for_is_kept(shop: Shop, lake: Lake):
    shop.put((1, "2024-01-01T00:00:00Z"))
    shop.fails("later")
    bring(shop, lake)
    first, second = (float(line.split()[1]) for line in (shop.folder / "asked").read_text().splitlines())
    assert second - first >= 1.0


@pytest.mark.parametrize(
    ("told", "fails", "kind", "error", "match"),
    [
        ({"headers": {"Authorization": "Bearer ${SHOP_WRONG}"}}, [], "cursor", UserError,
         r"refuses the credential: 401 .*no such token: Bearer \$\{SHOP_WRONG\}.*Nothing was written"),
        ({"headers": {"Authorization": "Bearer wr0ng"}}, [], "cursor", UserError, "'Authorization' holds a secret"),
        ({"headers": {"X-API-Key": "wr0ng"}}, [], "cursor", UserError, "'X-API-Key' holds a secret"),
        ({"headers": {"Authorization": "${SHOP_NONE}"}}, [], "cursor", UserError, "variable 'SHOP_NONE' is not set"),
        ({"max_attempts": 2}, [500, 500], "cursor", DependencyError, "failed 2 times, at last: 500 Internal"),
        ({"max_attempts": 2}, ["cut within"] * 2, "cursor", DependencyError, "2 times, at last: RemoteProtocolError"),
        ({}, [404], "cursor", UserError, "refuses the request: 404 Not Found"),
        ({"records": "data.order"}, [], "cursor", UserError, "there is no list at 'data.order'. Check 'records'"),
        ({"records": ""}, [], "cursor", UserError, "there is no list at 'the top'"),
        ({"records": "orders", "paging": Paging("next_url", path="next")}, [], "away", UserError,
         r"its next page is on another server \(localhost\)"),
        ({"records": "orders", "paging": Paging("next_url", path="next")}, [], "circle", UserError,
         "a page leads back to one before it"),
    ],
)  # fmt: skip
def test_what_does_not_pass_is_told_and_writes_nothing(shop, lake, monkeypatch, told, fails, kind, error, match):
    monkeypatch.setenv("SHOP_WRONG", "wr0ng")
    shop.put(*((number, f"2024-01-0{number}T00:00:00Z") for number in range(1, 6)))
    shop.fails(*fails)
    with pytest.raises(error, match=match) as caught:
        bring(shop, lake, kind, **told)
    assert "wr0ng" not in "".join(traceback.format_exception(caught.value))
    assert not lake.exists("raw/orders")


def test_a_list_at_the_top_and_nested_objects(shop: Shop, lake: Lake):
    shop.put((1, "2024-01-01T00:00:00.5Z"), tags=["a"])
    bring(shop, lake, "bare", records="")
    (row,) = lake.read("raw/orders").to_pylist()
    told = (row["id"], row["at"], row["buyer"], row["tags"], row["_source_file"])
    assert told == (1, datetime(2024, 1, 1, 0, 0, 0, 500000, UTC), '{"name": "ä"}', '["a"]', "shop#1")


def run_and_die(address: str, folder: str, lake: str, point: str) -> None:
    os.environ["SHOP_TOKEN"] = "hushhush"
    bring(
        Shop(address, Path(folder)), Lake(lake, DeltaRsWriter()),
        barrier=lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == point else None,
    )  # fmt: skip


@pytest.mark.parametrize("point", ["fetched", "laid_out", "committed"])
def test_a_load_killed_at(shop: Shop, lake: Lake, point: str):
    shop.put((1, "2024-01-01T00:00:00Z"))
    bring(shop, lake)
    shop.put((2, "2024-01-01T00:00:00Z"), (3, "2024-01-02T00:00:00Z"))
    child = CHILDREN.Process(target=run_and_die, args=(shop.address, str(shop.folder), lake.root, point))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert bring(shop, lake).num_rows == (0 if point == "committed" else 2)
    assert ids(lake) == [1, 2, 3]


DEFS = """
type: mosaic_assets.tables.ApiTableComponent
attributes:
  key: raw/orders
  url: http://127.0.0.1/cursor
  records: data.orders
  headers: {Authorization: "Bearer ${SHOP_TOKEN}"}
  pagination: {type: cursor, param: after, path: next.after}
  cursor_column: at
  cursor_param: since
  columns: {at: timestamp}
"""


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("Bearer ${SHOP_TOKEN}", "Bearer s3cret", "defs.yaml:6.*The option 'Authorization' holds a secret"),
        ("${SHOP_TOKEN}", "${SHOP_NONE}", "defs.yaml:6: The environment variable 'SHOP_NONE' is not set"),
        (", path: next.after", "", "defs.yaml:7.*Pagination 'cursor' needs 'path'"),
        ("type: cursor", "type: curser", "defs.yaml:7.*Pagination 'curser' is not declared. Did you mean 'cursor'"),
        ("cursor_column: at", "group_name: shop", "defs.yaml:9.*'cursor_param' needs 'cursor_column'"),
    ],
)
def test_what_is_declared_wrongly_is_told_with_its_line(tmp_path, monkeypatch, old, new, match):
    monkeypatch.setenv("SHOP_TOKEN", "hushhush")
    root = tmp_path / f"api_{abs(hash(new))}"
    make_project(root)
    shutil.rmtree(root / root.name / "defs" / "trips")
    (root / root.name / "defs" / "shop").mkdir()
    (root / root.name / "defs" / "shop" / "defs.yaml").write_text(DEFS.replace(old, new).lstrip())
    told = "\n".join(fault.message for fault in faults(root))
    assert re.search(match, told), told


def test_its_asset_shows_what_came(shop: Shop):
    shop.put((1, "2024-01-01T00:00:00Z"), (2, "2024-01-02T00:00:00Z"), (3, "2024-01-02T00:00:00Z"))
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.defs_folder_path / "story"
        (sandbox.project_root / "pyproject.toml").write_text("[tool.dg]\n")
        folder.mkdir(parents=True)
        (folder / "defs.yaml").write_text(DEFS.replace("http://127.0.0.1", shop.address))
        seams = Seams(load_settings(sandbox.project_root, environ={}))
        with sandbox.build_all_defs() as definitions:
            (asset,) = (each for each in definitions.assets if isinstance(each, dg.AssetsDefinition))
            result = dg.materialize([asset], resources={"mosaic": SimpleNamespace(seams=seams)})
        (event,) = result.get_asset_materialization_events()
        told = event.materialization.metadata
        assert (told["new_rows"].value, told["cursor"].value) == (3, "2024-01-02T00:00:00+00:00")
        assert (shop.address, "/cursor") in seams.outbox.datasets()
        everything = [file.read_bytes() for file in sandbox.project_root.rglob("*") if file.is_file()]
        assert not any(b"hushhush" in content for content in everything)
