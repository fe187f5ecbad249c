"""What ``mosaic up`` starts and shows ends with it, by whichever signal; real processes throughout."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import pyarrow as pa
import pytest

from mosaic_assets.cli.init import make_project
from mosaic_assets.features.materialize import materialize
from mosaic_assets.features.views import Entity, FeatureRef, FeatureService, FeatureView, Field
from mosaic_assets.orchestration.up_record import own_ports
from mosaic_assets.services.build import build_service
from mosaic_assets.services.endpoints import start_built
from mosaic_resources.bentos import process
from mosaic_resources.bentos.encoding import Encoding
from mosaic_resources.bentos.fake import write_fake_model
from mosaic_resources.online.contract import make_online_store
from mosaic_resources.settings.settings import Settings, load_settings

ROOT = Path(__file__).parents[3]
NOON = datetime(2024, 1, 3, 12, tzinfo=UTC)
REQUEST = {"station": "string"}
VIEW = FeatureView("trips", (Entity("station", ("station",)),), (Field("minutes", "float64"),), "features/trips")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A new project whose state holds a service that has been built."""
    for name in ("DAGSTER_HOME", "MOSAIC_STATE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    make_project(tmp_path / "upright")
    settings = load_settings(tmp_path / "upright")
    service = FeatureService.of("trips", [VIEW], [FeatureRef("trips", "*")])
    time = pa.array([NOON], pa.timestamp("us", tz="UTC"))
    rows = pa.table({"station": ["park"], "event_ts": time, "known_ts": time, "minutes": [12.0]})
    materialize(make_online_store(settings.online), service, "trips", rows)
    write_fake_model(tmp_path / "model", Encoding(("trips__minutes",), {}), (0.1,), name="trips")
    built = build_service(
        "trips", tmp_path / "model", service, REQUEST, on_demand=None, label="late",
        lock=ROOT / "requirements.lock", bentoml_home=settings.state / "bentoml",
    )  # fmt: skip
    process.activate(built, state=settings.state, service="trips")
    yield settings
    process.stop(settings.state, "trips")


class Up:
    """The command as a process of its own, with everything below it."""

    def __init__(self, settings: Settings, **environ: str) -> None:
        command = [sys.executable, "-m", "mosaic_assets.cli", "up", "--output", "json"]
        ports = ["--dagster-port", "0", "--mlflow-port", "0", "--project", str(settings.project_root)]
        self.errors = settings.project_root / "up.err"
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*command, *ports], stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
            )  # fmt: skip

    def __enter__(self) -> "Up":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)

    def addresses(self) -> dict[str, str]:
        """Returns what it prints, once it does."""
        assert self.process.stdout is not None
        text = ""
        while line := self.process.stdout.readline():
            text += line
            if line == "}\n":
                return json.loads(text)  # type: ignore[no-any-return]
        raise AssertionError(text + self.errors.read_text())

    def family(self, settings: Settings) -> list[psutil.Process]:
        """Returns everything that it shows or has started."""
        kept = json.loads((settings.state / "endpoint" / "trips" / "running.json").read_text())
        below = psutil.Process(self.process.pid).children(recursive=True)
        return list({one.pid: one for one in [*below, psutil.Process(kept["pid"])]}.values())


def running(found: list[psutil.Process]) -> list[list[str]]:
    """Returns what of it still runs after a while; one that nobody takes notice of has ended."""

    def lives(one: psutil.Process) -> bool:
        try:
            return one.is_running() and one.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    until = time.monotonic() + 60
    while any(map(lives, found)) and time.monotonic() < until:
        time.sleep(0.2)
    return [one.cmdline() for one in found if lives(one)]


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        signal.SIGTERM,
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_every_ending_signal_ends_all_that_is_shown_also_an_adopted_endpoint(
    settings: Settings, number: signal.Signals
) -> None:
    adopted = start_built(settings, "trips")
    with Up(settings, MLFLOW_TRACKING_URI="http://127.0.0.1:9") as up:
        addresses = up.addresses()
        assert addresses["Endpoint trips"] == adopted.url
        assert httpx.get(f"{addresses['Dagster']}/server_info", trust_env=False).status_code == 200
        assert httpx.post(f"{adopted.url}/v1/predict", json={"station": "park"}, trust_env=False).status_code == 200
        ports = {int(address.rpartition(":")[2]) for name, address in addresses.items() if name != "MLflow"}
        assert set(own_ports(settings.state)) == ports
        family = up.family(settings)
        assert len(family) >= 4
        up.process.send_signal(number)
        up.process.send_signal(number)  # an impatient second one changes nothing
        rest, _ = up.process.communicate(timeout=60)
        assert (up.process.returncode, rest) == (0, "")
        told = up.errors.read_text()
        assert "Ending endpoint trips, webserver, daemon, code-server …" in told
        for name in ("endpoint trips", "webserver", "daemon", "code-server"):
            assert f"  {name} has ended" in told.splitlines()
        assert own_ports(settings.state) == {}
        assert running(family) == []
    assert process.adopt(settings.state, "trips") is None


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's alone")
def test_killed_command_leaves_no_process_behind(settings: Settings) -> None:
    with Up(settings) as up:
        addresses = up.addresses()
        assert httpx.get(f"{addresses['MLflow']}/health", trust_env=False).status_code == 200
        family = up.family(settings)
        assert {"bento.serve", "code-server"} <= {part for one in family for part in one.cmdline()}
        up.process.kill()
        assert running(family) == []


def test_child_that_ends_is_told_and_ends_the_rest(settings: Settings) -> None:
    with Up(settings, MLFLOW_TRACKING_URI="http://127.0.0.1:9") as up:
        up.addresses()
        family = up.family(settings)
        (daemon,) = [one for one in family if "run" in one.cmdline() and any("daemon" in x for x in one.cmdline())]
        daemon.kill()
        rest, _ = up.process.communicate(timeout=60)
        assert up.process.returncode == 2
        assert "'daemon' has ended" in json.loads(rest)["message"]
        assert running(family) == []
