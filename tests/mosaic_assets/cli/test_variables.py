"""A variable that the YAML needs and nobody sets: the verbs that run or start something refuse, all alike."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mosaic_assets.cli.init import make_project
from mosaic_assets.cli.main import app

TOLD = "defs.yaml:2: The environment variable 'MOSAIC_TEST_LANDED' is not set. Set it, or write it into .env."
ENDPOINT = '{"bento_tag": "trips:1", "path": "nowhere"}'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    for name in ("DAGSTER_HOME", "MOSAIC_STATE", "MOSAIC_LANDING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MOSAIC_TEST_LANDED", "")  # remembered, so that what .env sets is gone after the test
    monkeypatch.delenv("MOSAIC_TEST_LANDED")
    root = tmp_path / f"needs_{abs(hash(request.node.name))}"  # a package is imported once for each name
    make_project(root)
    file = root / root.name / "defs" / "trips" / "defs.yaml"
    text = file.read_text().replace("attributes:\n  key: raw/trips", "ATTRIBUTES\n  key: raw/trips", 1)
    text = text.replace("ATTRIBUTES", "requirements: {env: [MOSAIC_TEST_LANDED]}\nattributes:")
    file.write_text(text.replace("path: trips/*.csv", "path: '{{ env.MOSAIC_TEST_LANDED }}/*.csv'"))
    (root / ".mosaic" / "endpoint" / "trips").mkdir(parents=True)
    (root / ".mosaic" / "endpoint" / "trips" / "active.json").write_text(ENDPOINT)
    return root


@pytest.mark.parametrize("verb", ["validate", "materialize raw/trips", "demo --small", "up", "serve"])
def test_variable_that_is_not_set_is_refused_with_its_place(project: Path, verb: str) -> None:
    outcome = CliRunner().invoke(app, [*verb.split(), "--project", str(project)])
    assert outcome.exit_code == 1
    assert TOLD in outcome.output
    assert not (project / ".mosaic" / "lake").exists()
    assert not (project / ".mosaic" / "dagster").exists()


def test_variable_may_come_from_dotenv(project: Path) -> None:
    (project / ".env").write_text("MOSAIC_TEST_LANDED='trips'\n")
    outcome = CliRunner().invoke(app, ["materialize", "raw/trips", "--project", str(project)])
    assert outcome.exit_code == 0, outcome.output
    assert (project / ".mosaic" / "lake" / "raw" / "trips" / "_delta_log").is_dir()


def test_serve_ends_an_endpoint_without_its_variables(project: Path) -> None:
    outcome = CliRunner().invoke(app, ["serve", "--stop", "--project", str(project)])
    assert (outcome.exit_code, outcome.output) == (0, "It does not run.\n")
