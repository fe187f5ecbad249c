"""What the project declares, and where: the only file that touches Dagster's undocumented component API."""

import sys
from pathlib import Path
from typing import TypeVar

import dagster as dg
from dagster import ComponentTree
from dagster.components.core.context import ComponentDeclLoadContext, ComponentLoadContext

from mosaic_resources.errors import UnknownNameError, UserError
from mosaic_resources.settings.settings import find_project_root

__all__ = ["ComponentTree", "declared", "importable", "project_root", "project_tree", "reference", "where"]

Kind = TypeVar("Kind", bound=dg.Component)


def declared(context: ComponentLoadContext, kind: type[Kind]) -> dict[str, Kind]:
    """Returns the components of a kind by their ``name``, without building their definitions.

    Raises:
        UserError: Two components of the kind have the same name.
    """
    found: dict[str, Kind] = {}
    for component in context.component_tree.get_all_components(of_type=kind):
        name = component.name  # type: ignore[attr-defined]
        if name in found:
            raise UserError(f"{kind.__name__} '{name}' is declared twice.", where(context, "name"), "Rename one.")
        found[name] = component
    return found


def reference(context: ComponentLoadContext, kind: type[Kind], name: str, field: str) -> Kind:
    """Returns the component that ``field`` of this component names.

    Raises:
        UnknownNameError: Nothing of that kind has the name; the message holds file, line and the nearest name.
    """
    known = declared(context, kind)
    if name not in known:
        raise UnknownNameError(kind.__name__, name, known, where(context, field))
    return known[name]


def where(context: ComponentLoadContext | ComponentDeclLoadContext, *path: str | int) -> str:
    """Returns ``file:line`` of an attribute of this component; the folder where it was declared in Python.

    Args:
        context: The component's.
        path: The attribute, and keys or numbers within it.
    """
    declaration = getattr(context, "component_decl", None)
    tree = getattr(getattr(declaration, "source_tree", None), "source_position_tree", None)
    if tree is None:
        return str(context.path)
    for step in ("attributes", *path):
        tree = tree.children.get(step, tree)
    return f"{tree.position.filename}:{tree.position.start.line}"


def project_tree(root: Path) -> ComponentTree:
    """Returns what a project declares, outside a load; for commands and notebooks."""
    importable(root)
    return ComponentTree.for_project(root)


def importable(root: Path) -> None:
    """Ensures that a project's package can be imported, installed or not."""
    for folder in (str(root), str(root / "src")):
        if folder not in sys.path:
            sys.path.insert(0, folder)


def project_root(context: ComponentLoadContext) -> Path:
    """Returns the folder with the pyproject.toml that this component belongs to."""
    return find_project_root(Path(context.path).resolve())
