from datetime import UTC, datetime

import pytest

from mosaic_resources.errors import UnknownNameError, UserError
from mosaic_resources.settings.clock import now_utc, set_simulated_clock
from mosaic_resources.settings.settings import find_project_root, load_settings


def test_embedded_defaults_lie_in_the_state_folder(tmp_path):
    settings = load_settings(tmp_path, {})
    assert (settings.target, settings.engine, settings.writer) == ("dev", "sail", "delta-rs")
    assert settings.lake == str(tmp_path / ".mosaic" / "lake")
    assert settings.outbox.parent == settings.state


def test_targets_and_environment_override_in_that_order(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[tool.mosaic.targets.prod]\nlake = "s3://a"\nstate = "run"\nopenlineage_namespace = "p"'
    )
    settings = load_settings(
        tmp_path, {"MOSAIC_TARGET": "prod", "OPENLINEAGE_NAMESPACE": "q", "MLFLOW_TRACKING_URI": "http://m"}
    )
    assert (settings.lake, settings.openlineage_namespace, settings.mlflow_tracking_uri) == ("s3://a", "q", "http://m")
    assert settings.state == tmp_path / "run"


def test_wrong_settings_say_which(tmp_path):
    with pytest.raises(UnknownNameError, match="target 'prd' is not declared"):
        load_settings(tmp_path, {"MOSAIC_TARGET": "prd"})
    with pytest.raises(UserError, match="Setting 'engine'"):
        load_settings(tmp_path, {"MOSAIC_ENGINE": "duck"})


def test_project_root_is_found_above_or_named_missing(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.dg]\n")
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert find_project_root(tmp_path / "a" / "b") == tmp_path
    with pytest.raises(UserError, match="No project here.*mosaic init"):
        find_project_root(tmp_path.parent)


def test_clock_stands_still_when_it_is_simulated(tmp_path):
    moment = datetime(2013, 7, 1, tzinfo=UTC)
    set_simulated_clock(tmp_path, moment)
    assert now_utc(tmp_path) == moment
    set_simulated_clock(tmp_path, None)
    assert now_utc(tmp_path) > moment
    (tmp_path / "clock.json").write_text("{")
    with pytest.raises(UserError, match="simulated clock is unreadable"):
        now_utc(tmp_path)
