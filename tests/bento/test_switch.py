"""A running endpoint changes its version; its log may fail; it is adopted and stopped."""

import asyncio
import itertools
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from mosaic_assets.services.build import build_service
from mosaic_assets.services.endpoints import active_bento
from mosaic_resources.bentos import process
from mosaic_resources.bentos.build import BuiltBento
from mosaic_resources.errors import DependencyError

Row = dict[str, Any]
LOCK = Path(__file__).parents[2] / "requirements.lock"
HEADERS = {"x-mosaic-time": "2013-07-01T12:00:00Z"}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("switch")


@pytest.fixture(scope="module")
def running(story: Any, state: Path) -> Iterator[process.Endpoint]:
    yield story.start(state=state, spool=state / "spool")
    process.stop(state, "flights")


def predict(url: str, row: Row) -> httpx.Response:
    return httpx.post(f"{url}/v1/predict", json=row, headers=HEADERS, timeout=20, trust_env=False)


def test_no_request_fails_while_versions_switch_under_load(
    running: process.Endpoint, story: Any, state: Path, row: Row
) -> None:
    num_requests, connections, num_switches = 2000, 4, 8
    statuses: list[int] = []
    versions: list[str] = []
    done = threading.Event()

    async def send(client: httpx.AsyncClient, count: int) -> None:
        for _ in range(count):
            answer = await client.post("/v1/predict", json=row)
            statuses.append(answer.status_code)
            versions.append(answer.json().get("model_version", "none"))

    async def load() -> None:
        async with httpx.AsyncClient(base_url=running.url, headers=HEADERS, timeout=20, trust_env=False) as client:
            await asyncio.gather(*(send(client, num_requests // connections) for _ in range(connections)))
            while not done.is_set():  # Until the last switch, so that each one happens under load.
                await send(client, 20)

    def switch() -> None:
        for i in range(num_switches):
            process.activate(story.bentos[(i + 1) % 2], state=state, service="flights")
        done.set()

    switcher, began = threading.Thread(target=switch), time.monotonic()
    switcher.start()
    asyncio.run(load())
    switcher.join()
    assert len(statuses) / (time.monotonic() - began) >= 50
    assert len(statuses) >= num_requests
    assert set(statuses) == {200}
    assert set(versions) == {"1", "2"}
    assert sum(a != b for a, b in itertools.pairwise(versions)) >= num_switches - 1
    assert process.adopt(state, "flights") == running, "an even number of switches ends where it began"


def test_activate_answers_with_the_new_version_and_says_so(
    running: process.Endpoint, story: Any, state: Path, row: Row
) -> None:
    now = process.activate(story.bentos[1], state=state, service="flights")
    assert now is not None
    assert now.model_version == "2"
    assert now.pid == running.pid
    assert json.loads((process.endpoint_folder(state, "flights") / "running.json").read_text())["model_version"] == "2"
    assert predict(running.url, row).json()["model_version"] == "2"
    process.activate(story.bentos[0], state=state, service="flights")


def test_broken_version_leaves_the_old_one_answering(
    running: process.Endpoint, story: Any, state: Path, row: Row, tmp_path: Path
) -> None:
    broken = BuiltBento("flights:broken", tmp_path / "broken")
    shutil.copytree(story.bentos[1].path, broken.path)
    (broken.path / "src/served/on_demand.py").write_text("raise SystemExit")
    with pytest.raises(DependencyError, match="still answers with"):
        process.activate(broken, state=state, service="flights", timeout_seconds=2)
    assert predict(running.url, row).json()["model_version"] == "1"
    assert "mosaic_version_switch_failures_total 0" not in httpx.get(f"{running.url}/metrics", trust_env=False).text
    folder = process.endpoint_folder(state, "flights")
    assert "not the one that the service was built with" in (folder / "endpoint.log").read_text()
    assert json.loads((folder / "active.json").read_text())["bento_tag"] == story.bentos[0].tag, "a restart must work"


def test_model_that_answers_nan_is_never_put_in_place(
    running: process.Endpoint, story: Any, state: Path, row: Row
) -> None:
    with pytest.raises(DependencyError, match="still answers with"):
        process.activate(story.bentos[2], state=state, service="flights", timeout_seconds=2)
    assert predict(running.url, row).status_code == 200


def test_endpoint_leads_its_own_session_and_a_second_start_adopts_it(
    running: process.Endpoint, story: Any, state: Path
) -> None:
    assert os.getsid(running.pid) == running.pid
    again = story.start(state=state, spool=state / "spool")
    assert (again.pid, again.port) == (running.pid, running.port)


def test_opens_no_lake_and_holds_neither_torch_nor_dagster(running: process.Endpoint) -> None:
    mapped = {Path(item.path).name for item in psutil.Process(running.pid).memory_maps()}
    assert not [name for name in mapped if "torch" in name or "deltalake" in name or "arrow" in name]


def test_log_that_cannot_be_written_refuses_and_recovers(story: Any, tmp_path: Path, row: Row) -> None:
    endpoint = story.start(state=tmp_path, spool=tmp_path / "spool")
    child = psutil.Process(endpoint.pid)
    try:
        assert predict(endpoint.url, row).status_code == 200
        child.rlimit(psutil.RLIMIT_FSIZE, (0, child.rlimit(psutil.RLIMIT_FSIZE)[1]))
        refused = predict(endpoint.url, row)
        assert (refused.status_code, refused.json()["error_code"]) == (503, "LOG_DOWN")
        assert httpx.get(f"{endpoint.url}/livez", trust_env=False).status_code == 200
        child.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
        assert predict(endpoint.url, row).status_code == 200
    finally:
        assert process.stop(tmp_path, "flights")
    assert process.adopt(tmp_path, "flights") is None
    assert not process.stop(tmp_path, "flights")


def test_log_that_cannot_be_written_is_counted_where_the_service_says_answer(
    story: Any, tmp_path: Path, row: Row
) -> None:
    built = build_service(
        "flights",
        story.root / "model-1",
        story.service,
        story.request,
        on_demand=story.root / "features.py",
        label="late",
        lock=LOCK,
        bentoml_home=story.root / "bentoml",
        on_log_failure="answer",
    )
    where: dict[str, Any] = {
        "state": tmp_path,
        "service": "flights",
        "online": story.online,
        "spool": tmp_path / "spool",
    }
    endpoint = process.start(built, **where)
    try:
        psutil.Process(endpoint.pid).rlimit(psutil.RLIMIT_FSIZE, (0, psutil.RLIM_INFINITY))
        assert [predict(endpoint.url, row).status_code for _ in range(3)] == [200] * 3
        assert "mosaic_log_lost_total 3" in httpx.get(f"{endpoint.url}/metrics", trust_env=False).text
    finally:
        process.stop(tmp_path, "flights")


def test_killed_endpoint_is_not_adopted_and_starts_anew_with_its_log_whole(
    story: Any, tmp_path: Path, row: Row
) -> None:
    first = story.start(state=tmp_path, spool=tmp_path / "spool")
    predict(first.url, row)
    os.killpg(first.pid, signal.SIGKILL)
    psutil.Process(first.pid).wait(10)
    assert process.adopt(tmp_path, "flights") is None
    second = story.start(state=tmp_path, spool=tmp_path / "spool")
    try:
        assert second.pid != first.pid
        assert predict(second.url, row).status_code == 200
        assert [path.name for path in (tmp_path / "spool/flights").iterdir()] == ["worker-0"]
    finally:
        process.stop(tmp_path, "flights")


def test_endpoint_that_cannot_start_says_why(story: Any, tmp_path: Path) -> None:
    with pytest.raises(DependencyError, match=r"ended at its start[\s\S]*Materialize a feature view first"):
        process.start(
            story.bentos[0], state=tmp_path, service="flights", online=str(tmp_path / "no"), spool=tmp_path / "spool"
        )


def test_taken_port_is_refused(story: Any, running: process.Endpoint, tmp_path: Path) -> None:
    with pytest.raises(DependencyError, match=f"Port {running.port} cannot be used"):
        process.start(
            story.bentos[0], state=tmp_path, service="flights", online=story.online, spool=tmp_path, port=running.port
        )


def test_endpoint_takes_the_port_again_that_it_had_last(story: Any, tmp_path: Path) -> None:
    address = process.own_address(tmp_path, "flights")
    assert process.own_address(tmp_path, "flights") == address != process.own_address(tmp_path, "trains")
    spool = tmp_path / "spool"
    try:
        assert story.start(state=tmp_path, spool=spool).url == address
        process.stop(tmp_path, "flights")
        with process._listen(int(address.rpartition(":")[2])):
            elsewhere = story.start(state=tmp_path, spool=spool)
        assert elsewhere.url != address
        process.stop(tmp_path, "flights")
        assert story.start(state=tmp_path, spool=spool).url == elsewhere.url
    finally:
        process.stop(tmp_path, "flights")


def test_start_that_is_interrupted_leaves_no_process(story: Any, tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children()}

    def interrupt() -> None:
        def begun() -> bool:
            new = [child for child in psutil.Process().children() if child.pid not in before]
            return any(child.cpu_times().user > 0.2 for child in new)

        while not begun():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(
        (KeyboardInterrupt, SystemExit)
    ):  # A library in this process may have its own answer to a signal.
        story.start(state=tmp_path, spool=tmp_path / "spool")
    assert {child.pid for child in psutil.Process().children()} <= before


def test_copied_state_serves_its_own_bento_and_adopts_no_process_of_the_old_one(
    story: Any, tmp_path: Path, row: Row
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(story.root / "bentoml", old / "bentoml")
    bento = BuiltBento(story.bentos[0].tag, old / story.bentos[0].path.relative_to(story.root))
    where: dict[str, Any] = {"service": "flights", "online": story.online}
    first = process.start(bento, state=old, spool=old / "spool", **where)
    try:
        shutil.copytree(old, new)
        assert process.adopt(new, "flights") is None
        assert not process.stop(new, "flights")
        assert process.adopt(old, "flights") == first
        copied = active_bento(new, "flights")
        assert copied.path.is_relative_to(new)
        process.stop(old, "flights")
        shutil.rmtree(old)
        second = process.start(copied, state=new, spool=new / "spool", **where)
        assert predict(second.url, row).status_code == 200
        assert list((new / "spool").rglob("*"))
        assert not old.exists()
    finally:
        for state in (old, new):
            process.stop(state, "flights")
