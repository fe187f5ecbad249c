"""What is wrong with a project, all of it at once, each with file and line."""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mosaic_assets.orchestration.known_columns import known_columns
from mosaic_resources.errors import MosaicError, UnknownNameError, UserError

if TYPE_CHECKING:
    import dagster as dg

__all__ = ["Fault", "check_columns", "check_definitions", "check_queries", "check_yaml", "faults"]


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Args:
        check: Which check found it: ``yaml``, ``defs``, ``references``, ``sql``.
        message: Where, what, what to do.
    """

    check: str
    message: str


def faults(root: Path) -> list[Fault]:
    """Returns everything that is wrong with the project at ``root``: YAML first, then definitions, then queries.

    Where the YAML does not fit its components, nothing that builds on it is looked at.
    """
    wrong = check_yaml(root)
    if not wrong:
        wrong, defs = check_definitions(root)
        wrong += check_references(root, defs) if defs is not None else []
        known, columns = (_keys(defs), known_columns(root, defs)) if defs is not None else (None, {})
        wrong += check_columns(defs, columns) if defs is not None else []
        queries = check_queries(root, known, columns)
        # A query that does not parse keeps the definitions from loading too: told once, with its file.
        wrong = [fault for fault in wrong if not any(fault.message in other.message for other in queries)] + queries
    return wrong


def check_yaml(root: Path) -> list[Fault]:
    """Returns unknown and mistyped attributes and component types, and environment variables that are not set."""
    from mosaic_assets.catalogue import importable
    from mosaic_assets.orchestration.yaml_check import check_documents

    importable(root)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [Fault("yaml", message) for message in check_documents(root)]


def check_definitions(root: Path) -> "tuple[list[Fault], dg.Definitions | None]":
    """Returns what keeps the definitions from loading (as ``dg check defs`` does), else the definitions."""
    from mosaic_assets.orchestration.run import load_definitions

    try:
        defs = load_definitions(root)
        type(defs).validate_loadable(defs)
    except Exception as exc:
        return [Fault("defs", _reason(exc))], None
    return [], defs


def check_references(root: Path, defs: "dg.Definitions") -> list[Fault]:
    """Returns the assets that something depends on and nothing makes, with the place where they are named."""
    from dagster._core.definitions.assets.definition.asset_spec import SYSTEM_METADATA_KEY_AUTO_CREATED_STUB_ASSET

    graph, known = defs.resolve_asset_graph(), _keys(defs)
    missing = [
        key.to_user_string()
        for key in graph.get_all_asset_keys()
        if graph.get(key).metadata.get(SYSTEM_METADATA_KEY_AUTO_CREATED_STUB_ASSET)
    ]
    in_queries = {key for file in _queries(root) for key in _tables(file)}
    return [
        Fault("references", str(UnknownNameError("asset", key, known, _named_at(root, key))))
        for key in sorted(missing)
        if key not in in_queries
    ]


def check_columns(defs: "dg.Definitions", columns: Mapping[str, Sequence[str]]) -> list[Fault]:
    """Returns the columns that a declaration without SQL reads and its table lacks.

    Args:
        defs: The definitions.
        columns: Table as written (``raw.flights``) → its columns, where they are known.
    """
    from mosaic_assets.features.windows.component import READS_COLUMNS

    graph, found = defs.resolve_asset_graph(), []
    for key in sorted(graph.get_all_asset_keys()):
        told = graph.get(key).metadata.get(READS_COLUMNS)
        reads: Any = told.value if told is not None else {"table": "", "columns": {}}
        known = columns.get(reads["table"].replace("/", "."))
        for name, place in reads["columns"].items() if known else ():
            if name not in (known or ()):
                error = UnknownNameError(f"column of '{reads['table']}'", name, known or (), place)
                found.append(Fault("references", str(error)))
    return found


def check_queries(
    root: Path, known: set[str] | None, columns: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> list[Fault]:
    """Returns what is wrong with the SQL files below the definitions.

    Args:
        root: The project.
        known: Keys of the assets that there are; None: the tables of queries are not looked up.
        columns: Table as written (``raw.flights``) → its columns, where they are known.
    """
    return [Fault("sql", message) for file in _queries(root) for message in _query_faults(file, root, known, columns)]


def _query_faults(
    file: Path, root: Path, known: set[str] | None, columns: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    from mosaic_assets.lineage.sql import table_spans
    from mosaic_assets.lineage.unknown_columns import unknown_columns
    from mosaic_assets.tables.portability import refusals

    place, query = str(file.relative_to(root)), file.read_text()
    try:
        spans = table_spans(query, place)
        for refusal in refusals(query, place):
            yield str(UserError(refusal.what, f"{place}:{refusal.line}", refusal.do))
    except UserError as exc:
        yield str(exc)
        return
    for span in spans:
        key = span.name.replace(".", "/")
        if known is not None and not span.is_qualifier and key not in known:
            line = query.count("\n", 0, span.start) + 1
            yield str(
                UnknownNameError("table", span.name, {name.replace("/", ".") for name in known}, f"{place}:{line}")
            )

    yield from (str(one.error(place)) for one in unknown_columns(query, columns))


def _queries(root: Path) -> list[Path]:
    return sorted(file for folder in _definition_folders(root) for file in folder.rglob("*.sql"))


def _tables(file: Path) -> list[str]:
    from mosaic_assets.lineage.sql import tables_of

    try:
        return [name.replace(".", "/") for name in tables_of(file.read_text())]
    except UserError:
        return []


def _named_at(root: Path, key: str) -> str | None:
    """Returns ``file:line`` of the first place below the definitions that names an asset."""
    pattern = re.compile(rf"(?<![\w/]){re.escape(key)}(?![\w/])")
    for folder in _definition_folders(root):
        for file in sorted(file for ending in ("*.yaml", "*.yml", "*.py") for file in folder.rglob(ending)):
            for number, line in enumerate(file.read_text().splitlines(), 1):
                if pattern.search(line):
                    return f"{file.relative_to(root)}:{number}"
    return None


def _definition_folders(root: Path) -> list[Path]:
    """Returns the project's folder of definitions, as its pyproject.toml names it."""
    import tomllib

    table = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    module = str(table.get("defs_module", f"{table['root_module']}.defs")).replace(".", "/")
    return [folder for folder in (root / module, root / "src" / module) if folder.is_dir()]


def _keys(defs: "dg.Definitions") -> set[str]:
    from dagster._core.definitions.assets.definition.asset_spec import SYSTEM_METADATA_KEY_AUTO_CREATED_STUB_ASSET

    graph = defs.resolve_asset_graph()
    return {
        key.to_user_string()
        for key in graph.get_all_asset_keys()
        if not graph.get(key).metadata.get(SYSTEM_METADATA_KEY_AUTO_CREATED_STUB_ASSET)
    }


def _reason(error: BaseException) -> str:
    """Returns our own error inside what the loader wrapped around it, else the innermost error."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    ours = [each for each in chain if isinstance(each, MosaicError)]
    return str(ours[0]) if ours else f"{type(chain[-1]).__name__}: {str(chain[-1]).strip()}"
