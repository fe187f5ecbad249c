"""``mosaic validate``: what ``dg check yaml`` and ``dg check defs`` look for, our references and queries, at once."""

from dataclasses import asdict
from pathlib import Path

import typer

from mosaic_assets.cli.output import Output, OutputOption, RootOption, console, emit, errors, root_of

__all__ = ["validate"]


def validate(project: RootOption = Path(), output: OutputOption = Output.text) -> None:
    """Check YAML, references, environment variables and queries; each fault with file and line. Exit 1 on any."""
    with errors(output):
        from mosaic_assets.orchestration.validation import faults

        root = root_of(project)
        with console.status("Checking …") if output is Output.text else errors(output):
            found = faults(root)
        emit([asdict(fault) for fault in found], output, lambda: None)
        if output is Output.text:
            for fault in found:
                console.print(f"[red]{fault.check}[/red] ", end="")
                console.print(fault.message, markup=False, highlight=False, soft_wrap=True)
            console.print(f"[red]{len(found)} fault{'s' * (len(found) > 1)}[/red]" if found else "[green]valid[/green]")
        if found:
            raise typer.Exit(1)
