"""``mosaic up``: Dagster's UI and daemon, MLflow and the endpoint together, until Ctrl-C."""

import time
from pathlib import Path
from typing import Annotated

import typer

from mosaic_assets.cli.output import Output, OutputOption, RootOption, console, emit, errors, root_of

__all__ = ["up"]


def up(
    dagster_port: Annotated[int, typer.Option(help="Preferred port of the Dagster UI.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Preferred port of MLflow.")] = 5000,
    endpoint_port: Annotated[int, typer.Option(help="Preferred port of the endpoint.")] = 8000,
    project: RootOption = Path(),
    output: OutputOption = Output.text,
) -> None:
    """Start everything that a person looks at, on free loopback ports; Ctrl-C ends all of it."""
    with errors(output):
        from mosaic_assets.orchestration.home import dagster_home
        from mosaic_assets.orchestration.processes import free_port, process_group
        from mosaic_assets.orchestration.run import definitions_module
        from mosaic_assets.orchestration.servers import (
            script,
            start_code_server,
            start_daemon,
            start_mlflow,
            start_webserver,
        )
        from mosaic_assets.orchestration.yaml_check import require_variables
        from mosaic_assets.services.endpoints import built_services, start_built
        from mosaic_resources.bentos import process
        from mosaic_resources.settings.settings import load_settings

        root = root_of(project)
        require_variables(root)
        settings = load_settings(root)
        env = {"DAGSTER_HOME": str(dagster_home(settings.state))}
        script("dagster-webserver")  # What is missing is told before anything starts.
        started = []
        with process_group(settings.state / "logs", env) as group:
            try:
                with (
                    console.status("Starting Dagster, MLflow and the endpoint …")
                    if output is Output.text
                    else errors(output)
                ):
                    workspace = start_code_server(group, root, settings.state, definitions_module(root))
                    start_daemon(group, root, workspace)
                    addresses = {"Dagster": start_webserver(group, root, workspace, dagster_port)}
                    if settings.mlflow_tracking_uri.startswith("sqlite:"):
                        artifacts = settings.state / "mlflow" / "artifacts"
                        addresses["MLflow"] = start_mlflow(group, settings.mlflow_tracking_uri, artifacts, mlflow_port)
                    else:
                        addresses["MLflow"] = settings.mlflow_tracking_uri
                    for name in built_services(settings.state):
                        if process.adopt(settings.state, name) is None:
                            started.append(name)
                        endpoint = start_built(settings, name, port=free_port(endpoint_port), simulated_clock=True)
                        addresses[f"Endpoint {name}"] = endpoint.url
                emit(addresses, output, lambda: _show(addresses))
                while (ended := group.first_ended()) is None:
                    time.sleep(0.5)
                console.print(f"[red]'{ended}' has ended[/red]; its log is {settings.state / 'logs' / ended}.log")
            except KeyboardInterrupt:
                console.print("\nEnding …")
            finally:
                for name in started:
                    process.stop(settings.state, name)


def _show(addresses: dict[str, str]) -> None:
    for name, address in addresses.items():
        console.print(f"  {name:24} [link]{address}[/link]")
    console.print("Ctrl-C ends all of them.")
