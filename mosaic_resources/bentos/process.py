"""An endpoint as a process of its own: started, adopted, told of a new version, stopped."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from mosaic_resources.bentos.build import BuiltBento
from mosaic_resources.errors import DependencyError
from mosaic_resources.lifeline import end_with_parent
from mosaic_resources.telemetry import without_telemetry

__all__ = ["Endpoint", "activate", "adopt", "endpoint_folder", "own_address", "start", "stop"]

HOST, PREFERRED_PORT = "127.0.0.1", 8000
READY_SECONDS = 120.0
SWITCH_SECONDS = 60.0
STOP_SECONDS = 15.0
PAUSE_SECONDS = 0.1


class Endpoint(BaseModel):
    """A running endpoint, as ``running.json`` keeps it.

    Args:
        service: Name of the service.
        host: Address.
        port: Port.
        pid: Process, leader of its own session.
        started: The process's start in seconds since 1970; tells it from a later one with the same pid.
        bento_tag: Tag of the Bento that answers.
        model_version: Version of the model that answers.
    """

    model_config = ConfigDict(frozen=True)

    service: str
    host: str
    port: int
    pid: int
    started: float
    bento_tag: str
    model_version: str

    @property
    def url(self) -> str:
        """The address with its scheme."""
        return f"http://{self.host}:{self.port}"


def endpoint_folder(state: Path, service: str) -> Path:
    """Returns the folder of a service's endpoint: ``active.json``, ``running.json``, ``port.json``, its log."""
    return state / "endpoint" / service


def own_address(state: Path, service: str) -> str:
    """Returns where a service answers when it runs, with its scheme.

    The port is chosen once, and taken again at each start where it is free, so that a link to it stays true.

    Args:
        state: The state folder.
        service: Name of the service.
    """
    file = endpoint_folder(state, service) / "port.json"
    port = _kept_port(file)
    if port is None:
        others = {_kept_port(other) for other in (state / "endpoint").glob("*/port.json")}
        with _listen_first(() if PREFERRED_PORT in others else (PREFERRED_PORT,)) as free:
            port = int(free.getsockname()[1])
        _replace(file, {"port": port})
    return f"http://{HOST}:{port}"


def activate(
    bento: BuiltBento, *, state: Path, service: str, timeout_seconds: float = SWITCH_SECONDS
) -> Endpoint | None:
    """Makes a Bento the one that answers; a running endpoint loads it beside the old one and switches.

    Args:
        bento: The Bento.
        state: The state folder.
        service: Name of the service.
        timeout_seconds: How long a running endpoint may take to switch.

    Returns:
        The running endpoint, which answers with the new version; None where none runs.

    Raises:
        DependencyError: The running endpoint did not switch; the old version goes on answering.
    """
    folder = endpoint_folder(state, service)
    active, running = folder / "active.json", adopt(state, service)
    before = json.loads(active.read_bytes()) if running is not None else {}
    # Relative, so that a state folder that is moved or copied serves its own Bento.
    _replace(active, {"bento_tag": bento.tag, "path": os.path.relpath(bento.path.resolve(), folder.resolve())})
    if running is None:
        return None
    end = time.monotonic() + timeout_seconds
    while (info := _info(running.url)) is not None and info.get("bento_tag") != bento.tag:
        if time.monotonic() > end:
            _replace(active, before)  # What answers is what a restart finds.
            raise DependencyError(
                f"The endpoint still answers with {info.get('bento_tag')}.",
                bento.tag,
                f"See {folder / 'endpoint.log'}.",
            )
        time.sleep(PAUSE_SECONDS)
    if info is None:
        raise DependencyError("The endpoint ended while it switched.", bento.tag, f"See {folder / 'endpoint.log'}.")
    return _remember(
        folder, running.model_copy(update={"bento_tag": bento.tag, "model_version": info["model_version"]})
    )


def start(
    bento: BuiltBento,
    *,
    state: Path,
    service: str,
    online: str,
    spool: Path,
    port: int | None = None,
    simulated_clock: bool = False,
    with_parent: bool = False,
    timeout_seconds: float = READY_SECONDS,
) -> Endpoint:
    """Returns the service's endpoint, ready to answer with a Bento; one that runs already is kept and switched.

    The process is the leader of its own session, so it outlives the one that starts it, unless it is told not to.

    Args:
        bento: The Bento.
        state: The state folder.
        service: Name of the service.
        online: Address of the online store.
        spool: Folder of the inference log.
        port: Port on loopback; None: the service's own, or a free one while that is taken; 0: a free one.
        simulated_clock: Whether the header ``x-mosaic-time`` is the request's time.
        with_parent: Whether it ends where this process dies (Linux); else it outlives it.
        timeout_seconds: How long it may take to be ready.

    Raises:
        DependencyError: The port is taken, or the endpoint did not become ready; its log's end is in the message.
    """
    if adopt(state, service) is not None:
        switched = activate(bento, state=state, service=service)
        if switched is not None:
            return switched
    folder = endpoint_folder(state, service)
    activate(bento, state=state, service=service)
    environment = {
        **without_telemetry(os.environ),
        "PYTHONPATH": str(bento.sources),
        "BENTOML_HOME": str(bento.path.parents[2]),
        "MOSAIC_ONLINE": online,
        "MOSAIC_SPOOL": str(spool),
        "MOSAIC_ACTIVE": str(folder / "active.json"),
        "MOSAIC_CLOCK": "simulated" if simulated_clock else "wall",
        "OMP_NUM_THREADS": "1",
    }
    own = urlsplit(own_address(state, service)).port if port is None else None
    bound_socket = _listen(port) if port is not None else _listen_first([own or 0])
    with bound_socket as listening, (folder / "endpoint.log").open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "bento.serve", "--fd", str(listening.fileno())],
            cwd=bento.sources,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[listening.fileno()],
            start_new_session=True,
            preexec_fn=end_with_parent() if with_parent else None,
        )
        host, bound = listening.getsockname()
    url = f"http://{host}:{bound}"
    try:
        info = _wait_ready(child, url, folder / "endpoint.log", timeout_seconds)
    except BaseException:  # also an interrupt: nobody would know the process
        _kill(child)
        raise
    endpoint = Endpoint(
        service=service,
        host=host,
        port=bound,
        pid=child.pid,
        started=psutil.Process(child.pid).create_time(),
        bento_tag=info["bento_tag"],
        model_version=info["model_version"],
    )
    _replace(folder / "port.json", {"port": bound})
    return _remember(folder, endpoint)


def adopt(state: Path, service: str) -> Endpoint | None:
    """Returns the endpoint that ``running.json`` names, if that very process still answers for the service."""
    file = endpoint_folder(state, service) / "running.json"
    try:
        endpoint = Endpoint.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None
    if _process(endpoint, file.parent) is None:
        return None
    info = _info(endpoint.url)
    if info is None or info.get("service") != service:
        return None
    return endpoint.model_copy(update={"bento_tag": info["bento_tag"], "model_version": info["model_version"]})


def stop(state: Path, service: str, timeout_seconds: float = STOP_SECONDS) -> bool:
    """Ends the service's endpoint; requests that have begun are finished first.

    Returns:
        Whether one ran.
    """
    file = endpoint_folder(state, service) / "running.json"
    try:
        process = _process(Endpoint.model_validate_json(file.read_bytes()), file.parent)
    except (OSError, ValidationError):
        return False
    if process is not None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            os.killpg(process.pid, number)
            if _ends(process, timeout_seconds):
                break
    file.unlink(missing_ok=True)
    return process is not None


def _listen(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen(2048)
    except OSError as exc:
        listening.close()
        raise DependencyError(
            f"Port {port} cannot be used: {exc.strerror}.", do="Choose another, or 0 for a free one."
        ) from exc
    return listening


def _listen_first(ports: Sequence[int]) -> socket.socket:
    """Returns a socket on the first port that can be used, else on any free one."""
    for port in ports:
        try:
            return _listen(port)
        except DependencyError:
            continue
    return _listen(0)


def _kept_port(file: Path) -> int | None:
    try:
        return int(json.loads(file.read_bytes())["port"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _kill(child: "subprocess.Popen[bytes]") -> None:
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _wait_ready(child: "subprocess.Popen[bytes]", url: str, log: Path, timeout_seconds: float) -> dict[str, Any]:
    end = time.monotonic() + timeout_seconds
    while child.poll() is None and time.monotonic() < end:
        info = _info(url)
        if info is not None:
            return info
        time.sleep(PAUSE_SECONDS)
    what = (
        "The endpoint ended at its start"
        if child.poll() is not None
        else f"The endpoint is not ready after {timeout_seconds:g} seconds"
    )
    _kill(child)
    lines = log.read_text(errors="replace").strip().splitlines()[-8:]
    raise DependencyError(f"{what}:\n" + "\n".join(lines), str(log))


def _info(url: str) -> dict[str, Any] | None:
    # The socket listens before the process does, so a connection may be taken and not answered yet.
    try:
        answer = httpx.get(f"{url}/v1/model", timeout=1.0, trust_env=False)
        return answer.json() if answer.status_code == 200 else None
    except (httpx.HTTPError, ValueError):
        return None


def _process(endpoint: Endpoint, folder: Path) -> psutil.Process | None:
    """Returns the process, if it is the one that was started for this folder; a copied folder has none."""
    try:
        process = psutil.Process(endpoint.pid)
        alive = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        if not alive or abs(process.create_time() - endpoint.started) >= 0.01:
            return None
        told = Path(process.environ().get("MOSAIC_ACTIVE", ""))
        return process if told.resolve() == (folder / "active.json").resolve() else None
    except psutil.Error:
        return None


def _ends(process: psutil.Process, timeout_seconds: float) -> bool:
    """Returns whether a process ends in time; one that its own parent has not taken notice of has ended too."""
    end = time.monotonic() + timeout_seconds
    while time.monotonic() < end:
        try:
            process.wait(PAUSE_SECONDS)  # takes notice of a child of ours
            return True
        except psutil.TimeoutExpired:
            if process.is_running() and process.status() == psutil.STATUS_ZOMBIE:
                return True
    return False


def _remember(folder: Path, endpoint: Endpoint) -> Endpoint:
    _replace(folder / "running.json", endpoint.model_dump())
    return endpoint


def _replace(file: Path, content: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(f".{os.getpid()}.draft")
    draft.write_text(json.dumps(content))
    draft.replace(file)
