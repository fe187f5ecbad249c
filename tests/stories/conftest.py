"""The small story, played once by the command that a user types; the tests look at what it left behind."""

import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import pytest

from mosaic_assets.orchestration.story import Stage, load_script
from mosaic_resources.bentos import process
from mosaic_resources.seams import Seams
from mosaic_resources.settings.settings import load_settings

ROOT = Path(__file__).parents[2]
# July's last evening is the first of August in UTC; the load that switches the endpoint asks in September.
LOAD_FROM = "2013-08-02"
FOLDER = ROOT / "mosaic_assets" / "defs" / "flights"


@dataclass(frozen=True)
class Played:
    """What the demo left: its summary as JSON, its state, the environment to run further commands in."""

    summary: dict[str, Any]
    state: Path
    env: dict[str, str]

    @property
    def seams(self) -> Seams:
        return Seams(
            load_settings(ROOT, {name: value for name, value in self.env.items() if name.startswith("MOSAIC_")})
        )

    def mosaic(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sysconfig.get_path("scripts")) / "mosaic"), *arguments]
        return subprocess.run(command, cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=300, check=check)


def plain(value: Any) -> Any:
    """Returns a feature's value as text where it is a time, so that a log's and a table's can be compared."""
    text = value.isoformat() if hasattr(value, "isoformat") else value
    return text.replace("Z", "+00:00").replace(".000000", "") if isinstance(text, str) else text


def play(state: Path, size: Sequence[str] = ("--small",), **more: str) -> tuple[list[str], dict[str, str]]:
    """Returns the command and the environment that play the story, the small one by default, into a state folder."""
    env = {**os.environ, "MOSAIC_STATE": str(state), "DAGSTER_HOME": str(state / "dagster"), "PYTHONUNBUFFERED": "1"}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    return [sys.executable, "-m", "mosaic_assets.cli", "demo", *size, "--output", "json"], {**env, **more}


def play_and_kill(state: Path, when: Callable[[], bool]) -> None:
    """Plays the small story and kills it, with SIGKILL, as soon as a condition holds."""
    command, env = play(state)
    with (state.parent / "killed.log").open("ab") as log:
        child = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + 600
    while not when():
        assert child.poll() is None, (state.parent / "killed.log").read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def play_to_the_end(state: Path, size: Sequence[str] = ("--small",), **more: str) -> Played:
    command, env = play(state, size, **more)
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return Played(json.loads(done.stdout), state, env)


def some_spooled(state: Path) -> bool:
    return any(file.stat().st_size > 20_000 for file in (state / "spool").rglob("*") if file.is_file())


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """The small story, killed while a network trains and again amid the requests, then played to the end."""
    state = tmp_path_factory.mktemp("story") / "state"
    try:
        play_and_kill(state, lambda: (state / "models").exists())
        play_and_kill(state, lambda: some_spooled(state))
        yield play_to_the_end(state)
    finally:
        process.stop(state, "flight_delay")


@pytest.fixture(scope="module")
def stage(story: Played) -> Iterator[Stage]:
    """The story's stage, in this process: its settings are those that the played command had."""
    with (
        mock.patch.dict(os.environ, story.env),
        dg.DagsterInstance.from_config(str(story.state / "dagster")) as instance,
    ):
        yield Stage(ROOT, FOLDER, load_script(FOLDER / "demo.yaml", small=True), instance)
