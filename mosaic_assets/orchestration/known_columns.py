"""Which columns each table of a project will have, as it is declared now: what a query is checked against."""

from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from mosaic_resources.delta.lake import Lake
from mosaic_resources.errors import MosaicError

__all__ = ["known_columns"]


def known_columns(root: Path, defs: dg.Definitions) -> dict[str, Sequence[str]]:
    """Returns table as written in SQL (``raw.flights``) → its columns; tables that cannot be told are left out.

    A source's columns are declared, those of a query follow from its text. Another table is looked up in the lake, if
    what made it there is what is declared now.
    """
    from mosaic_assets.lineage.unknown_columns import output_columns, unknown_columns

    graph, lake = defs.resolve_asset_graph(), _local_lake(root)
    found: dict[str, Sequence[str]] = {}
    for key in graph.toposorted_asset_keys:
        node, name = graph.get(key), key.to_user_string()
        declared, query = node.metadata.get("dagster/column_schema"), node.metadata.get("query")
        columns: Sequence[str] | None = None
        if isinstance(declared, dg.TableSchemaMetadataValue):
            columns = [column.name for column in declared.schema.columns]
        elif isinstance(query, dg.MarkdownMetadataValue):
            text = (query.md_str or "").removeprefix("```sql\n").removesuffix("\n```")
            if unknown_columns(text, found):
                continue  # What is wrong there is told once, not again of all that reads it.
            columns = output_columns(text, found)
        if columns is None and lake is not None:
            columns = _stored(lake, name, node.code_version)
        if columns is not None:
            found[name.replace("/", ".")] = columns
    return found


def _local_lake(root: Path) -> Lake | None:
    from mosaic_resources.seams import Seams

    try:
        lake = Seams.of(root).lake
    except MosaicError:
        return None
    return None if "://" in lake.root else lake


def _stored(lake: Lake, name: str, code_version: str | None) -> list[str] | None:
    try:
        if not lake.exists(name) or lake.history(name, 1)[0].get("code_version") != code_version:
            return None
        return list(lake.schema(name).names)
    except MosaicError:
        return None
