"""``mosaic features``: the declared feature views, and what breaks if one of them changes."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from mosaic_assets.cli.output import Output, OutputOption, RootOption, console, emit, errors, root_of

__all__ = ["features"]


def features(
    name: Annotated[str | None, typer.Argument(help="A feature view: show all of it, and what stands on it.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only views with this tag: key, or key=value.")] = None,
    project: RootOption = Path(),
    output: OutputOption = Output.text,
) -> None:
    """Show the feature views; of one, which services, datasets and models break if it changes."""
    with errors(output):
        from mosaic_assets.catalogue import project_tree
        from mosaic_assets.features.listing import describe_view, list_views
        from mosaic_assets.orchestration.run import load_definitions
        from mosaic_assets.orchestration.selection import stands_on

        root = root_of(project)
        tree = project_tree(root)
        if name is not None:
            view = describe_view(tree, name)
            view["stands_on_it"] = stands_on(load_definitions(root), view["table"])
            emit(view, output, lambda: _show(view))
        else:
            views = [view for view in list_views(tree) if tag is None or _tagged(view["tags"], tag)]
            emit(views, output, lambda: _list(views))


def _tagged(tags: dict[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in tags and (not equals or tags[key] == value)


def _list(views: list[dict[str, Any]]) -> None:
    table = Table(box=None)
    for column in ("view", "entities", "features", "known", "ttl", "owners", "used by"):
        table.add_column(column, overflow="fold")
    for view in views:
        table.add_row(
            view["view"], ", ".join(view["entities"]), ", ".join(view["features"]), view["known"], view["ttl"] or "-",
            ", ".join(view["owners"]) or "-", ", ".join(view["feature_services"]) or "-",
        )  # fmt: skip
    console.print(table if views else "No feature view is declared.")


def _show(view: dict[str, Any]) -> None:
    table = Table(box=None, show_header=False)
    shown = ("kind", "description", "table", "entities", "join_keys", "known", "ttl", "online", "owners", "tags")
    for field in shown:
        value = view[field]
        table.add_row(field, ", ".join(value) if isinstance(value, list) else str(value or "-"))
    table.add_row("features", ", ".join(f"{name} {kind}" for name, kind in view["features"].items()))
    for service, used in view["used_features"].items():
        table.add_row(f"used by {service}", "all" if "*" in used else ", ".join(used))
    for kind, names in view["stands_on_it"].items():
        table.add_row(f"breaks in {kind}", ", ".join(names))
    console.print(table)
