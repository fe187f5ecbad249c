"""Dagster's own servers for a project: one code server that the daemon and the web server share."""

import os
import sys
import sysconfig
from pathlib import Path

import yaml

from mosaic_assets.orchestration.home import dagster_home
from mosaic_assets.orchestration.processes import Processes, free_port, http_ready
from mosaic_assets.orchestration.run import code_location
from mosaic_resources.engine.connect import reachable
from mosaic_resources.errors import missing_extra

__all__ = ["script", "start_code_server", "start_daemon", "start_mlflow", "start_pages", "start_webserver"]

# Seven processes for MLflow's own evaluation jobs, which nothing here asks for.
JOBS = "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"
EXTRAS = {"dagster-webserver": "ui", "mlflow": "train"}


def script(name: str) -> str:
    """Returns the path of a console script of this environment.

    Raises:
        DependencyError: The extra that brings it is not installed.
    """
    file = Path(sysconfig.get_path("scripts")) / name
    if not file.exists():
        raise missing_extra(name, EXTRAS[name])
    return str(file)


def start_code_server(group: Processes, project_root: Path, state: Path, module: str) -> Path:
    """Starts the code server and returns a workspace file that points to it.

    Definitions are loaded once here, instead of once in the daemon and once in the web server.
    """
    port, name = free_port(), code_location(project_root)
    command = [
        sys.executable,
        "-m",
        "dagster",
        "code-server",
        "start",
        "-m",
        module,
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
    ]
    group.start("code-server", [*command, "--location-name", name], cwd=project_root)
    group.wait_ready("code-server", lambda: reachable("127.0.0.1", port))
    workspace = dagster_home(state) / "workspace.yaml"
    server = {"grpc_server": {"host": "127.0.0.1", "port": port, "location_name": name}}
    workspace.write_text(yaml.safe_dump({"load_from": [server]}))
    return workspace


def start_daemon(group: Processes, project_root: Path, workspace: Path) -> None:
    """Starts the daemon, which ticks sensors and schedules and launches runs."""
    group.start("daemon", [script("dagster-daemon"), "run", "-w", str(workspace)], cwd=project_root)


def start_webserver(group: Processes, project_root: Path, workspace: Path, port: int | None = None) -> str:
    """Starts the web server and returns its address once it answers."""
    chosen = free_port(port)
    command = [script("dagster-webserver"), "-w", str(workspace), "-h", "127.0.0.1", "-p", str(chosen)]
    group.start("webserver", command, cwd=project_root)
    address = f"http://127.0.0.1:{chosen}"
    group.wait_ready("webserver", http_ready(f"{address}/server_info"))
    return address


def start_mlflow(group: Processes, tracking_uri: str, artifacts: Path, port: int | None = None) -> str:
    """Starts MLflow's UI over the tracking store and returns its address once it answers."""
    chosen = free_port(port)
    command = [
        script("mlflow"),
        "server",
        "--backend-store-uri",
        tracking_uri,
        "--host",
        "127.0.0.1",
        "--port",
        str(chosen),
    ]
    command += ["--workers", "1", "--artifacts-destination", str(artifacts)]
    group.start("mlflow", command, env={JOBS: os.environ.get(JOBS, "false")})
    address = f"http://127.0.0.1:{chosen}"
    group.wait_ready("mlflow", http_ready(f"{address}/health"), timeout_seconds=180)
    return address


def start_pages(group: Processes, folder: Path) -> str:
    """Serves the exploration pages and returns their address; a browser opens no file from a page of the UI."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(folder)]
    group.start("pages", command)
    address = f"http://127.0.0.1:{port}"
    group.wait_ready("pages", http_ready(address))
    return address
