"""The page of a dataset and of a table: made by the step, opened in a real browser without a network."""

import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from mosaic_assets.orchestration.processes import process_group
from mosaic_assets.orchestration.servers import start_pages

CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
TABLE = """---
type: mosaic_assets.tables.SqlTableComponent
attributes: {key: tables/late_flights, sql: late.sql, exploration: true}
"""


@pytest.fixture(scope="module")
def pages(project) -> dict[str, str]:
    """Asset → address of its page."""
    pytest.importorskip("skrub", reason="the extra 'explore' is not installed")
    late = "select flight_id, dep_delay, departed_at from tables.outcomes where late = 1"
    with project("exploration: true", "leakage: {checks: []}", more=TABLE, late=late) as story:
        result = story.make("features/aircraft", "datasets/delays", "tables/late_flights")
        assert result.success
        made = result.get_asset_materialization_events()
        return {
            event.asset_key.to_user_string(): event.materialization.metadata["exploration"].value
            for event in made
            if "exploration" in event.materialization.metadata
        }


def test_each_explored_asset_links_to_a_page_of_its_own(pages):
    assert sorted(pages) == ["datasets/delays", "tables/late_flights"]
    for key, address in pages.items():
        file = Path(urlsplit(address).path)
        assert file.parent.as_posix().endswith(f".mosaic/exploration/{key}")
        text = file.read_text()
        assert "looks at" in text
        assert 'src="http' not in text
        assert 'href="http' not in text.replace('href="https://en.wikipedia.org', "")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Debian's chromium is not installed")
def test_a_person_sees_columns_relations_splits_and_time(pages, tmp_path):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 1000})
            asked, errors = [], []
            page.on("request", lambda request: asked.append(request.url))
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto(pages["datasets/delays"])
            for title in ("Relation to late", "By split", "Over time", "Columns"):
                page.get_by_role("heading", name=title, exact=True).wait_for(timeout=30_000)
            page.get_by_text("Distributions", exact=True).first.click()
            page.get_by_text("Most frequent values").locator("visible=true").first.wait_for(timeout=30_000)
            picture = tmp_path / "page.png"
            page.screenshot(path=str(picture), full_page=True)
            assert picture.stat().st_size > 100_000
            assert page.locator("figure svg").count() >= 8
            assert errors == []
            assert {urlsplit(url).scheme for url in asked} <= {"file", "data"}
        finally:
            browser.close()


def test_pages_are_served_for_a_browser_that_opens_no_files(pages, tmp_path):
    file = Path(urlsplit(pages["tables/late_flights"]).path)
    with process_group(tmp_path / "logs", {}) as group:
        address = start_pages(group, file.parents[2])
        served = httpx.get(f"{address}/tables/late_flights/{file.name}")
        assert (served.status_code, served.text) == (200, file.read_text())


def test_a_missing_extra_is_named_before_anything_runs(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "skrub", None)
    with project("exploration: true") as story:
        result = story.make("datasets/delays")
        assert not result.success
        (failure,) = [event for event in result.all_events if event.is_step_failure]
        cause = failure.step_failure_data.error.cause
        assert "The module 'skrub' is not installed. Install 'mosaic-assets[explore]'." in cause.message
