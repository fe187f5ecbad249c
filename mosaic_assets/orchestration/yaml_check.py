"""Every document of every ``defs.yaml`` against the schema of its component, and the variables that it needs.

``dg check yaml`` looks at the last document of each type alone, and at whether variables are named, not whether
they are set; its schemas, its YAML parser and its rules are used here for all documents.
"""

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosaic_resources.errors import UnknownNameError, UserError
from mosaic_resources.settings.references import names_in
from mosaic_resources.settings.settings import read_dotenv

if TYPE_CHECKING:
    from dagster_dg_core.component import EnvRegistry
    from dagster_dg_core.context import DgContext
    from dagster_shared.yaml_utils.source_position import SourcePositionTree, ValueAndSourcePositionTree
    from jsonschema import ValidationError  # type: ignore[import-untyped]

__all__ = ["check_documents", "require_variables"]

FILES = ("defs.yaml", "defs.yml", "component.yaml")


def check_documents(root: Path) -> list[str]:
    """Returns what is wrong in the project's YAML, each as ``file:line: what``.

    Args:
        root: The project; it need not be installed.
    """
    context = _context(root)
    documents, broken = _documents(context.defs_path, root)
    found = [str(error) for error in broken]
    registry = _registry(context, documents)
    for document in documents:
        found += [str(error) for error in _faults(document, registry, {**read_dotenv(root), **os.environ})]
    return found


def require_variables(root: Path) -> None:
    """Looks that every environment variable of the project's YAML is set, before anything is run or started.

    Args:
        root: The project; it need not be installed.

    Raises:
        UserError: A variable is not set; the message is the one of ``check_documents``.
    """
    documents, _ = _documents(_context(root).defs_path, root)
    for document in documents:
        if isinstance(document.value, dict):
            for error in _unset(document.value, document.source_position_tree, os.environ):
                raise error


def _context(root: Path) -> "DgContext":
    from dagster_dg_core.context import DgContext

    return DgContext.from_file_discovery_and_command_line_config(root, {})


def _documents(folder: Path, root: Path) -> "tuple[list[ValueAndSourcePositionTree], list[UserError]]":
    """Returns the documents below a folder with their places, and what is no YAML."""
    from dagster_shared.yaml_utils import parse_yamls_with_source_position
    from yaml import MarkedYAMLError

    found: list[ValueAndSourcePositionTree] = []
    broken: list[UserError] = []
    for file in sorted(file for name in FILES for file in folder.rglob(name)):
        try:
            found += parse_yamls_with_source_position(file.read_text(), filename=str(file.relative_to(root)))
        except MarkedYAMLError as exc:
            line = exc.problem_mark.line + 1 if exc.problem_mark else 1
            broken.append(UserError(f"This is no YAML: {exc.problem}.", f"{file.relative_to(root)}:{line}"))
    return found, broken


def _faults(
    document: "ValueAndSourcePositionTree", registry: "EnvRegistry", available: Mapping[str, str]
) -> Iterator[UserError]:
    from dagster_dg_core.check import COMPONENT_FILE_SCHEMA
    from dagster_shared.serdes.objects import EnvRegistryKey
    from jsonschema import Draft202012Validator

    value, tree = document.value, document.source_position_tree
    outer = list(Draft202012Validator(COMPONENT_FILE_SCHEMA).iter_errors(value))
    yield from (_explained(error, tree, []) for error in outer)
    kind = value.get("type") if isinstance(value, dict) else None
    if outer or not isinstance(kind, str):
        if not outer:
            yield UserError("The document has no 'type'.", _place(tree, []), "Name a component, or remove it.")
        return
    yield from _variables(value, tree, available)
    if kind.startswith("."):
        return  # Relative to its own module, which loading the definitions looks at.
    try:
        schema = registry.get(EnvRegistryKey.from_typename(kind)).component_schema or {}
    except KeyError:
        known = [key.to_typename() for key in registry.keys()]  # noqa: SIM118
        yield UnknownNameError("component type", kind, known, _place(tree, ["type"]))
        return
    for error in Draft202012Validator(schema).iter_errors(value.get("attributes", {})):
        yield _explained(error, tree, ["attributes"])


def _explained(error: "ValidationError", tree: "SourcePositionTree", prefix: list[str]) -> UserError:
    """Returns a schema's error with its place; of an unexpected key, the key's own, and the nearest known key."""
    path = [*prefix, *error.absolute_path]
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = list(error.schema.get("properties", {}))
        unexpected = next((key for key in error.instance if key not in known), None)
        if unexpected is not None:
            near = difflib.get_close_matches(str(unexpected), known, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(sorted(known))}."
            return UserError(f"'{unexpected}' is no attribute here.", _place(tree, [*path, unexpected]), hint)
    dotted = ".".join(str(part) for part in path) or "the document"
    return UserError(f"{dotted}: {error.message}.", _place(tree, path))


def _variables(
    value: Mapping[str, Any], tree: "SourcePositionTree", available: Mapping[str, str]
) -> Iterator[UserError]:
    from dagster_dg_core.component import get_specified_env_var_deps, get_used_env_vars

    named, used = get_specified_env_var_deps(value), get_used_env_vars(value)
    for name in sorted(used - named):
        yield UserError(
            f"The variable '{name}' is used but not named.",
            _place(tree, []),
            f"Add it to 'requirements: {{env: [{name}]}}'.",
        )
    yield from _unset(value, tree, available)


def _unset(value: Mapping[str, Any], tree: "SourcePositionTree", available: Mapping[str, str]) -> Iterator[UserError]:
    from dagster_dg_core.component import get_specified_env_var_deps, get_used_env_vars

    yield from _unset_references(value.get("attributes", {}), ["attributes"], tree, available)
    for name in sorted((get_used_env_vars(value) | get_specified_env_var_deps(value)) - set(available)):
        yield UserError(
            f"The environment variable '{name}' is not set.",
            _place(tree, ["requirements", "env"]),
            "Set it, or write it into .env.",
        )


def _unset_references(
    value: object, path: list[Any], tree: "SourcePositionTree", available: Mapping[str, str]
) -> Iterator[UserError]:
    """Yields the variables that are referred to as ``${NAME}``, asked for when a step runs, and not set."""
    if isinstance(value, str):
        for name in names_in(value):
            if not available.get(name):
                yield UserError(
                    f"The environment variable '{name}' is not set.",
                    _place(tree, path),
                    "Set it, or write it into .env.",
                )
    elif isinstance(value, Mapping | list):
        for step, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _unset_references(inner, [*path, step], tree, available)


def _place(tree: "SourcePositionTree", path: list[Any]) -> str:
    for step in path:
        tree = tree.children.get(step, tree)
    return f"{tree.position.filename}:{tree.position.start.line}"


def _registry(context: Any, documents: "list[ValueAndSourcePositionTree]") -> "EnvRegistry":
    from dagster_dg_core.component import EnvRegistry

    kinds = [document.value.get("type") for document in documents if isinstance(document.value, dict)]
    modules = {kind.rpartition(".")[0] for kind in kinds if isinstance(kind, str) and not kind.startswith(".")}
    importable = sorted(module for module in modules if _importable(module))
    return EnvRegistry.from_dg_context(context, extra_modules=importable)


def _importable(module: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
