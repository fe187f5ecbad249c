"""A trace as a text tree, as JSON."""

from typing import TYPE_CHECKING

from mosaic_assets.lineage.trace import Node

if TYPE_CHECKING:
    from rich.tree import Tree

__all__ = ["as_dict", "as_text", "as_tree"]

MAX_FILES = 12
COLOURS = {"prediction": "bold magenta", "model": "bold cyan", "endpoint": "cyan", "service": "cyan", "file": "green"}


def as_tree(node: Node) -> "Tree":
    """Returns the trace as a rich tree; of many files beside each other the first are shown, the rest counted."""
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
    for child in node.children:
        if child.kind != "file" or len(files) <= MAX_FILES or child in files[: MAX_FILES - 1]:
            _grow(tree.add(_line(child)), child)
    if len(files) > MAX_FILES:
        tree.add(f"[dim]and {len(files) - MAX_FILES + 1} more files[/dim]")


def _line(node: Node) -> str:
    from rich.markup import escape

    colour = COLOURS.get(node.kind, "bold")
    version = f" [yellow]@ {escape(node.version)}[/yellow]" if node.version else ""
    told = {
        name: value
        for name, value in node.details.items()
        if not (name == "address" and node.kind in ("file", "table"))
    }
    details = "".join(f" [dim]{name}={escape(value)}[/dim]" for name, value in told.items())
    above = " [dim](see above)[/dim]" if node.repeated else ""
    return f"{node.kind} [{colour}]{escape(node.name)}[/{colour}]{version}{details}{above}"
