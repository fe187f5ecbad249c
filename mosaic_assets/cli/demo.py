"""``mosaic demo``: plays the story from raw files to a retrained, served model."""

import logging
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Column

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
                facts = _with_bar(chapter.title, output, lambda tick, chapter=chapter: chapter.run(stage, tick))  # type: ignore[misc]
                progress.finish(chapter.name, time.monotonic() - began, facts)
            summary = collect(stage, progress)
        emit(summary, output, lambda: show(summary))


def _with_bar(title: str, output: Output, run: Callable[[Callable[[str], None]], Any]) -> Any:
    """Runs a chapter behind a line that shows what it does and for how long."""
    if output is Output.json:
        return run(lambda _step: None)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", table_column=Column(ratio=3, no_wrap=True, overflow="ellipsis")),
        BarColumn(10),
        TextColumn("[dim]{task.fields[step]}", table_column=Column(ratio=2, no_wrap=True, overflow="ellipsis")),
        TimeElapsedColumn(table_column=Column(width=7, no_wrap=True)),
    )
    with Bars(*columns, console=console, transient=True, expand=True) as bars:
        task = bars.add_task(title, total=None, step="")
        count = 0

        def tick(step: str) -> None:
            nonlocal count
            count += 1
            bars.update(task, step=f"{step.replace('__', '/')} ({count})")

        began = time.monotonic()
        made = run(tick)
    console.print(f"  [green]✓[/green] {title} [dim]{time.monotonic() - began:.1f} s[/dim]")
    return made


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
    os.environ.setdefault("WHYLOGS_NO_ANALYTICS", "True")
    # Waiting threads that spin take the cores from the endpoint and the daemon.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
