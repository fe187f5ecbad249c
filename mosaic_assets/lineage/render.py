"""A trace as a text tree, as JSON."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mosaic_assets.lineage.trace import Node

if TYPE_CHECKING:
    from rich.tree import Tree

__all__ = ["as_dict", "as_text", "as_tree"]

MAX_FILES = 3
SHORT_ID = 8
# What the tree leaves out of a line; the JSON form has it.
HIDDEN = {"file": ("address",), "table": ("address",), "feature view": ("address",), "dataset": ("address",)}
COLOURS = {"prediction": "bold magenta", "model": "bold cyan", "endpoint": "cyan", "service": "cyan", "file": "green"}


def as_tree(node: Node) -> "Tree":
    """Returns the trace as a rich tree: ids cut to eight characters, many files of one step in one line."""
    from rich.tree import Tree

    tree = Tree(_line(node))
    _grow(tree, node)
    return tree


def as_text(node: Node, width: int = 160) -> str:
    """Returns the trace as plain text."""
    from io import StringIO

    from rich.console import Console

    console = Console(file=StringIO(), width=width, color_system=None)
    console.print(as_tree(node))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def as_dict(node: Node) -> dict[str, object]:
    """Returns the trace as plain values for JSON."""
    values: dict[str, object] = {"kind": node.kind, "name": node.name, "version": node.version, **node.details}
    if node.repeated:
        values["repeated"] = True
    return {**values, "children": [as_dict(child) for child in node.children]}


def _grow(tree: "Tree", node: Node) -> None:
    files = [child for child in node.children if child.kind == "file"]
    many = len(files) > MAX_FILES
    for child in node.children:
        if child.kind != "file" or not many:
            _grow(tree.add(_line(child)), child)
    if many:
        tree.add(_files_line(files))


def _files_line(files: Sequence[Node]) -> str:
    """Returns one line for all files of a node; their run where one step read them all."""
    names = sorted(file.name for file in files)
    runs = {file.details.get("dagster_run") for file in files}
    details = files[0].details if len(runs) == 1 else {"runs": str(len(runs))}
    shown = f"{names[0]} … {names[-1].rpartition('/')[2]}"
    return _line(Node("file", shown, details=details), f"{len(files)} files")


def _line(node: Node, kind: str | None = None) -> str:
    from rich.markup import escape

    colour = COLOURS.get(node.kind, "bold")
    version = f" [yellow]@ {escape(node.version)}[/yellow]" if node.version else ""
    told = {
        name: value[:SHORT_ID] if name.endswith("_run") else value
        for name, value in node.details.items()
        if name not in HIDDEN.get(node.kind, ())
    }
    details = "".join(f" [dim]{name}={escape(value)}[/dim]" for name, value in told.items())
    above = " [dim](see above)[/dim]" if node.repeated else ""
    return f"{kind or node.kind} [{colour}]{escape(node.name)}[/{colour}]{version}{details}{above}"
