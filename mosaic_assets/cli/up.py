"""``mosaic up``: Dagster's UI and daemon, MLflow and the endpoint together, until Ctrl-C."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from mosaic_assets.cli.output import Output, OutputOption, RootOption, aside, console, emit, errors, root_of
from mosaic_resources.errors import DependencyError
from mosaic_resources.mlflow.contract import UI_PORT

if TYPE_CHECKING:
    from mosaic_assets.orchestration.processes import Processes
    from mosaic_resources.settings.settings import Settings

__all__ = ["up"]

ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def up(
    dagster_port: Annotated[int, typer.Option(help="Preferred port of the Dagster UI.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Preferred port of MLflow; links to runs lead to 5000.")] = UI_PORT,
    endpoint_port: Annotated[
        int | None, typer.Option(help="Port of the endpoint; default: the one that it had last.")
    ] = None,
    project: RootOption = Path(),
    output: OutputOption = Output.text,
) -> None:
    """Start everything that a person looks at, on free loopback ports; Ctrl-C ends all of it."""
    with errors(output):
        from mosaic_assets.orchestration.home import dagster_environment
        from mosaic_assets.orchestration.processes import process_group
        from mosaic_assets.orchestration.servers import script
        from mosaic_assets.orchestration.up_record import recorded
        from mosaic_assets.orchestration.yaml_check import require_variables
        from mosaic_assets.services.endpoints import built_services, start_built
        from mosaic_resources.bentos import process
        from mosaic_resources.settings.settings import load_settings

        root = root_of(project)
        require_variables(root)
        settings = load_settings(root)
        script("dagster-webserver")  # What is missing is told before anything starts.
        env, shown = dagster_environment(settings.state), []
        with _signals_interrupt(), process_group(settings.state / "logs", env, _ended) as group:
            try:
                with console.status("Starting Dagster, MLflow and the endpoint …") if output is Output.text else _QUIET:
                    addresses = _start(group, root, settings, dagster_port, mlflow_port)
                    for name in built_services(settings.state):
                        shown.append(name)  # also one that ran before: what is shown ends together
                        endpoint = start_built(settings, name, port=endpoint_port, with_parent=True)
                        addresses[f"Endpoint {name}"] = endpoint.url
                ours = {name: url for name, url in addresses.items() if url != settings.mlflow_tracking_uri}
                with recorded(settings.state, ours):
                    emit(addresses, output, lambda: _show(addresses))
                    _watch(group, settings.state / "logs")
            except KeyboardInterrupt:
                _say(f"\nEnding {', '.join([*(f'endpoint {name}' for name in shown), *group.names])} …")
            finally:
                _ignore_signals()
                for name in shown:
                    if process.stop(settings.state, name):
                        _ended(f"endpoint {name}")


_QUIET = nullcontext()


def _start(group: "Processes", root: Path, settings: "Settings", dagster_port: int, mlflow_port: int) -> dict[str, str]:
    """Starts Dagster's servers and MLflow; returns their addresses by name."""
    from mosaic_assets.exploration.step import PAGES
    from mosaic_assets.orchestration.run import definitions_module
    from mosaic_assets.orchestration.servers import (
        start_code_server,
        start_daemon,
        start_mlflow,
        start_pages,
        start_webserver,
    )
    from mosaic_resources.mlflow.client import MlflowRegistry

    workspace = start_code_server(group, root, settings.state, definitions_module(root))
    start_daemon(group, root, workspace)
    addresses = {"Dagster": start_webserver(group, root, workspace, dagster_port)}
    addresses["MLflow"] = store = settings.mlflow_tracking_uri
    if not store.startswith(("http://", "https://")):
        MlflowRegistry(store).relocate()
        addresses["MLflow"] = start_mlflow(group, store, settings.state / "mlflow" / "artifacts", mlflow_port)
        if not addresses["MLflow"].endswith(f":{UI_PORT}"):
            aside(f"Port {UI_PORT} is not MLflow's here: links to runs in the graph, which name it, lead elsewhere.")
    if (pages := settings.state / PAGES).is_dir():
        addresses["Exploration"] = start_pages(group, pages)
    return addresses


def _watch(group: "Processes", logs: Path) -> None:
    """Returns never; raises where a child ends, or a signal interrupts."""
    while (ended := group.first_ended()) is None:
        time.sleep(0.5)
    raise DependencyError(f"'{ended}' has ended.", do=f"Its log is {logs / ended}.log.")


def _ended(name: str) -> None:
    _say(f"  {name} has ended")


def _say(text: str) -> None:
    with suppress(OSError):  # the terminal may be gone
        aside(text)


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Makes the first signal that asks for an end a KeyboardInterrupt; further ones do not disturb the ending."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        _ignore_signals()
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # under nohup it stays ignored
            signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


def _show(addresses: dict[str, str]) -> None:
    for name, address in addresses.items():
        console.print(f"  {name:24} [link]{address}[/link]")
    console.print("Ctrl-C ends all of them.")
