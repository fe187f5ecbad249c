"""``mosaic demo``: plays the story from raw files to a retrained, served model."""

import logging
import os
import time
import warnings
from pathlib import Path
from typing import Annotated

import typer

from mosaic_assets.cli.output import Output, OutputOption, RootOption, console, emit, errors, root_of

__all__ = ["demo"]


def demo(
    small: Annotated[
        bool, typer.Option("--small", help="Two months of history and one aircraft in five, for slow machines.")
    ] = False,
    story: Annotated[str, typer.Option(help="Folder below defs/ with a demo.yaml.")] = "flights",
    project: RootOption = Path(),
    output: OutputOption = Output.text,
) -> None:
    """Play a story: land, train, serve, drift, retrain, decide. Interrupted, it goes on from where it stood."""
    with errors(output):
        from mosaic_assets.cli.machine import machine, require
        from mosaic_assets.cli.progress import shown
        from mosaic_assets.cli.summary import collect, show
        from mosaic_assets.orchestration.chapters import chapters
        from mosaic_assets.orchestration.run import instance_of
        from mosaic_assets.orchestration.story import Progress, Stage, load_script
        from mosaic_assets.orchestration.yaml_check import require_variables
        from mosaic_resources.settings.settings import load_settings

        root = root_of(project)
        require_variables(root)
        settings = load_settings(root)
        folder = root / "mosaic_assets" / "defs" / story
        script = load_script(folder / "demo.yaml", small=small)
        require(machine(settings.state))
        progress = Progress.load(settings.state / "demo" / f"{story}.json", small)
        _quiet(settings.state / "logs")
        if output is Output.text:
            console.print(f"[bold]{script.title}[/bold]")
        with instance_of(settings.state) as instance:
            stage = Stage(root, folder, script, instance)
            for chapter in chapters(stage):
                if chapter.name in progress.done:
                    continue
                began = time.monotonic()
                with shown(chapter.title, output) as ticker:
                    facts = chapter.run(stage, ticker)
                progress.finish(chapter.name, time.monotonic() - began, facts)
            summary = collect(stage, progress)
        emit(summary, output, lambda: show(summary))


def _quiet(logs: Path) -> None:
    """Sends the libraries' chatter to a file; a person sees the chapters."""
    logs.mkdir(parents=True, exist_ok=True)
    logging.captureWarnings(True)
    warnings.simplefilter("ignore")
    handler = logging.FileHandler(logs / "demo.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    logging.getLogger().handlers = [handler]
    logging.getLogger("dagster").handlers = [handler]
    logging.getLogger("dagster").propagate = False
    # Waiting threads that spin take the cores from the endpoint and the daemon.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
