"""Third parties' switches: what they make of an environment where nobody has set them, and where the user has."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mosaic_assets.orchestration.home import dagster_environment
from mosaic_resources.telemetry import OPT_OUTS, without_telemetry

ASKED = """
from bentoml._internal.utils.analytics.usage_stats import do_not_track
from dagster._core.telemetry_upload import is_running_in_test
from mlflow.telemetry.utils import is_telemetry_disabled
import whylogs.api.usage_stats as whylogs
print(do_not_track(), is_telemetry_disabled(), whylogs._TELEMETRY_DISABLED, is_running_in_test())
"""


def heard(tmp_path: Path, **told: str) -> list[str]:
    """Returns what BentoML, MLflow, whylogs and Dagster make of an environment: whether they send nothing."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH")}
    environ = without_telemetry({**kept, "HOME": str(tmp_path), **told}, tmp_path)
    command = [sys.executable, "-c", ASKED]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout.split()


def test_tools_send_nothing_home_by_default(tmp_path: Path) -> None:
    assert heard(tmp_path) == ["True"] * 4


def test_what_the_user_has_set_holds(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: true}\n")
    assert heard(tmp_path, BENTOML_DO_NOT_TRACK="False", MLFLOW_DISABLE_TELEMETRY="false") == [
        "False", "False", "True", "False",
    ]  # fmt: skip


@pytest.mark.parametrize("text", [None, "", "nux: {enabled: false}", "telemetry: {}", "- not a mapping", "{torn"])
def test_dagster_is_told_by_its_variable_where_its_file_says_nothing(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "dagster.yaml").write_text(text)
    assert without_telemetry({}, tmp_path) == {**OPT_OUTS, "DAGSTER_DISABLE_TELEMETRY": "1"}


def test_dagsters_servers_get_their_home_and_its_switch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    told = dagster_environment(tmp_path)
    assert told["DAGSTER_HOME"] == str(tmp_path / "dagster")
    assert "enabled: false" in (tmp_path / "dagster" / "dagster.yaml").read_text()
    assert told.items() >= without_telemetry({}).items()
