"""How verbs speak: text for people, JSON for programs, one line for an error."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from mosaic_resources.errors import DependencyError, InternalError, MosaicError

__all__ = ["Output", "OutputOption", "RootOption", "aside", "console", "emit", "errors", "root_of"]

console = Console()


class Output(StrEnum):
    """Form of what a verb prints."""

    text = "text"
    json = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="text for people, json for programs.")]
RootOption = Annotated[Path, typer.Option("--project", help="Folder in the project; default: here.", file_okay=False)]


def emit(value: Any, output: Output, show: Callable[[], None]) -> None:
    """Prints ``value`` as JSON, or calls ``show``."""
    if output is Output.json:
        sys.stdout.write(json.dumps(value, default=str, indent=2) + "\n")
        sys.stdout.flush()  # a program that reads along waits for it
    else:
        show()


def aside(text: str) -> None:
    """Prints a remark for people on stderr, so that stdout holds the result alone."""
    Console(stderr=True, highlight=False).print(text, markup=False, soft_wrap=True)


@contextmanager
def errors(output: Output = Output.text) -> Iterator[None]:
    """Ends the command on one of our errors: exit 1 where the user can mend it, 2 for a dependency, 3 for our bug."""
    try:
        yield
    except MosaicError as exc:
        if output is Output.json:
            sys.stdout.write(json.dumps({"error": type(exc).__name__, "message": str(exc), "where": exc.where}) + "\n")
        else:
            Console(stderr=True, highlight=False).print(f"[red]error:[/red] {escape(str(exc))}", soft_wrap=True)
        raise typer.Exit(3 if isinstance(exc, InternalError) else 2 if isinstance(exc, DependencyError) else 1) from exc


def root_of(folder: Path) -> Path:
    """Returns the project that ``folder`` lies in; what its ``.env`` sets is in the environment from here on.

    Dagster's own commands read ``.env`` too, so a verb and the code server see the same. What neither sets sends
    nothing home.
    """
    from mosaic_resources.settings.settings import find_project_root, read_dotenv
    from mosaic_resources.telemetry import without_telemetry

    root = find_project_root(folder.resolve())
    for name, value in read_dotenv(root).items():
        os.environ.setdefault(name, value)
    os.environ.update(without_telemetry(os.environ))
    return root
