"""``mosaic serve``: the very Bento that an asset built, as a process of its own."""

from pathlib import Path
from typing import Annotated

import typer

from mosaic_assets.cli.output import Output, OutputOption, RootOption, console, emit, errors, root_of

__all__ = ["serve"]


def serve(
    service: Annotated[
        str | None, typer.Argument(help="Name of the service; default: the only one that is built.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port on 127.0.0.1; 0: a free one; default: the one that it had last.")
    ] = None,
    stop: Annotated[bool, typer.Option("--stop", help="End the running endpoint instead.")] = False,
    simulated_clock: Annotated[
        bool | None,
        typer.Option(help="Take a request's time from its header x-mosaic-time; default: if the project's clock is."),
    ] = None,
    project: RootOption = Path(),
    output: OutputOption = Output.text,
) -> None:
    """Start (or end) the endpoint of a service that has been built."""
    with errors(output):
        from mosaic_assets.orchestration.yaml_check import require_variables
        from mosaic_assets.services.endpoints import start_built
        from mosaic_assets.services.endpoints import the_service as only_service
        from mosaic_resources.bentos import process
        from mosaic_resources.settings.settings import load_settings

        root = root_of(project)
        settings = load_settings(root)
        name = only_service(settings.state, service)
        if stop:
            ended = process.stop(settings.state, name)
            emit(
                {"service": name, "stopped": ended},
                output,
                lambda: console.print("Ended." if ended else "It does not run."),
            )
            return
        require_variables(root)
        endpoint = start_built(settings, name, port=port, simulated_clock=simulated_clock)
        emit(
            endpoint.model_dump(),
            output,
            lambda: console.print(
                f"[bold]{name}[/bold] answers at {endpoint.url} with model version {endpoint.model_version} "
                f"(process {endpoint.pid})."
            ),
        )
