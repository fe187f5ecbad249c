"""The small story, played once by the command that a user types; the tests look at what it left behind."""

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mosaic_resources.bentos import process
from mosaic_resources.seams import Seams
from mosaic_resources.settings.settings import load_settings

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Played:
    """What the demo left: its summary as JSON, its state, the environment to run further commands in."""

    summary: dict[str, Any]
    state: Path
    env: dict[str, str]

    @property
    def seams(self) -> Seams:
        return Seams(load_settings(ROOT, {"MOSAIC_STATE": str(self.state)}))

    def mosaic(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sysconfig.get_path("scripts")) / "mosaic"), *arguments]
        return subprocess.run(command, cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=300, check=check)


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    state = tmp_path_factory.mktemp("story") / "state"
    env = {**os.environ, "MOSAIC_STATE": str(state), "DAGSTER_HOME": str(state / "dagster"), "PYTHONUNBUFFERED": "1"}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "mosaic_assets.cli", "demo", "--small", "--output", "json"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    try:
        yield Played(json.loads(done.stdout), state, env)
    finally:
        process.stop(state, "flight_delay")
