"""The Dagster UI in a real browser, on the instance that the story left."""

import os
import shutil
from pathlib import Path

import httpx
import pytest

from mosaic_assets.orchestration.processes import process_group
from mosaic_assets.orchestration.servers import start_code_server, start_webserver

from .conftest import ROOT, Played

pytestmark = [
    pytest.mark.timeout(1500),
    pytest.mark.skipif(shutil.which("chromium") is None, reason="Debian's chromium is not installed"),
]
CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
GROUPS = ["landing", "tables", "features", "datasets", "models", "services", "predictions", "monitors"]
QUERY = "{ assetNodes { assetKey { path } isMaterializable assetMaterializations(limit: 1) { runId } } }"


@pytest.fixture(scope="module")
def address(story: Played, tmp_path_factory):
    with process_group(tmp_path_factory.mktemp("logs"), story.env) as group:
        workspace = start_code_server(group, ROOT, story.state, "mosaic_assets.definitions")
        yield start_webserver(group, ROOT, workspace)


def test_the_server_shows_every_asset_materialized(address):
    answer = httpx.post(f"{address}/graphql", json={"query": QUERY}, timeout=60).json()
    nodes = [node for node in answer["data"]["assetNodes"] if node["isMaterializable"]]
    assert len(nodes) > 30
    assert [node["assetKey"]["path"] for node in nodes if not node["assetMaterializations"]] == []


def graph_of(address, *expanded):
    return f"{address}/asset-groups?expanded=" + ",".join(f"global%40global%3A{group}" for group in expanded)


def take_picture(browser, address, file):
    """Saves the graph alone, sharp, zoomed in as far as all of it fits, once the assets have their colours."""
    page = browser.new_page(viewport={"width": 2100, "height": 760}, device_scale_factor=1.5)
    page.goto(graph_of(address, "datasets", "models", "services"), wait_until="domcontentloaded")
    page.get_by_text("flight_delays").last.wait_for(timeout=90_000)
    page.get_by_text("Hide navigation").click()
    page.wait_for_timeout(8000)  # the layout moves into place
    page.screenshot(path=str(file), clip={"x": 375, "y": 112, "width": 1670, "height": 600})
    page.close()


def share_of_green(file):
    from matplotlib.image import imread

    red, green, blue = (imread(file)[..., channel] for channel in range(3))
    return float(((green > red + 0.03) & (green > blue + 0.005)).mean())


def test_a_person_sees_the_graph(address, tmp_path):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        try:
            picture = Path(
                os.environ.get("GRAPH_PNG", tmp_path / "graph.png")
            )  # GRAPH_PNG=docs/graph.png: the README's
            take_picture(browser, address, picture)
            assert share_of_green(picture) > 0.02  # four materialized assets
            page = browser.new_page(viewport={"width": 2000, "height": 800})
            page.goto(graph_of(address, *GROUPS), wait_until="domcontentloaded")
            page.get_by_text("aircraft_departure").first.wait_for(timeout=90_000)
            shown = page.content()
            assert "Never materialized" not in shown
            assert [group for group in GROUPS if group not in shown] == []
        finally:
            browser.close()
