"""``mosaic trace``: the way from a prediction, a model or a table back to the landed files, and down again."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mosaic_assets.cli.output import Output, OutputOption, RootOption, console, emit, errors, root_of

__all__ = ["trace"]


class What(StrEnum):
    """What a trace begins at."""

    prediction = "prediction"
    asset = "asset"
    model = "model"
    file = "file"


def trace(
    what: Annotated[What, typer.Argument(help="prediction (a request id), asset (its key), model (its name), file.")],
    name: Annotated[str, typer.Argument(help="The id, key, name or path; of a path its end will do.")],
    version: Annotated[str | None, typer.Option(help="Version to begin at; default: the newest.")] = None,
    down: Annotated[
        bool, typer.Option("--down", help="What was made from it, instead of what it was made from.")
    ] = False,
    project: RootOption = Path(),
    output: OutputOption = Output.text,
) -> None:
    """Show the way from a prediction, a model or a table back to the landed files."""
    with errors(output):
        from mosaic_assets.lineage.render import as_dict, as_text, as_tree
        from mosaic_assets.lineage.trace import Node, trace_dataset, trace_down, trace_model, trace_prediction
        from mosaic_resources.seams import Seams

        seams = Seams.of(root_of(project))

        def way() -> Node:
            if what is What.prediction:
                from mosaic_assets.predictions.find_request import find_request
                from mosaic_assets.tables.listing import list_tables

                tables = list_tables(seams.lake, seams.outbox)
                return trace_prediction(seams.outbox, find_request(seams.lake, tables, seams.settings.spool, name))
            if down or what is What.file:
                return trace_down(seams.outbox, name)
            if what is What.model or name.startswith("models/"):
                return trace_model(seams.outbox, name.removeprefix("models/"), version)
            return trace_dataset(seams.outbox, name, version)

        node = way()

        def show() -> None:
            if console.is_terminal:
                console.print(as_tree(node))
            else:  # one line each, however long
                console.print(as_text(node, width=2000), end="", markup=False, highlight=False, soft_wrap=True)

        emit(as_dict(node), output, show)
