"""The views of the project's own story, and what stands on one."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mosaic_assets.cli.main import app

ROOT = Path(__file__).parents[3]


def told(*arguments: str, exit_code: int = 0) -> Any:
    outcome = CliRunner().invoke(app, ["features", *arguments, "--project", str(ROOT), "--output", "json"])
    assert outcome.exit_code == exit_code, outcome.output
    return json.loads(outcome.stdout)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOSAIC_STATE", str(tmp_path))


def test_views_are_listed_with_who_uses_them() -> None:
    views = {view["view"]: view for view in told()}
    assert views["aircraft"]["join_keys"] == ["tailnum"]
    assert views["aircraft"]["feature_services"] == ["flight_delay"]
    assert views["weather_at_origin"]["known"] == "after 1h"
    assert told("--tag", "nothing") == []


def test_a_view_shows_what_breaks_if_it_changes() -> None:
    view = told("aircraft")
    assert view["used_features"] == {"flight_delay": ["*"]}
    assert view["stands_on_it"]["datasets"] == ["flight_delays"]
    assert "flight_delay" in view["stands_on_it"]["models"]
    assert "flight_delay_decision" in view["stands_on_it"]["monitors"]


def test_an_unknown_view_is_named_with_its_neighbour() -> None:
    assert "Did you mean 'aircraft'?" in told("aircraf", exit_code=1)["message"]
