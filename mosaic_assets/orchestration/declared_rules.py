"""What the definitions say of a table's expectations: rules, and the column of its partitions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import dagster as dg

from mosaic_assets.tables.expectations import ACTION, CONDITION, PARTITION_BY, Action, Rule
from mosaic_resources.errors import UnknownNameError

__all__ = ["DeclaredTable", "declared_tables", "find_table"]


@dataclass(frozen=True)
class DeclaredTable:
    """A table with expectations.

    Args:
        rules: Its rules.
        partition_by: Column that holds its partition key.
    """

    rules: tuple[Rule, ...]
    partition_by: str | None


def declared_tables(defs: dg.Definitions) -> Mapping[str, DeclaredTable]:
    """Returns table → what is declared, for each table with expectations."""
    graph = defs.resolve_asset_graph()
    rules: dict[str, list[Rule]] = {}
    for key in graph.asset_check_keys:
        told = graph.get_check_spec(key).metadata
        if CONDITION in told:
            rule = Rule(key.name, str(told[CONDITION]), cast(Action, str(told[ACTION])))
            rules.setdefault(key.asset_key.to_user_string(), []).append(rule)
    return {
        table: DeclaredTable(tuple(found), graph.get(dg.AssetKey(table.split("/"))).metadata.get(PARTITION_BY))
        for table, found in rules.items()
    }


def find_table(defs: dg.Definitions, table: str) -> DeclaredTable:
    """Returns what is declared for a table.

    Raises:
        UnknownNameError: No table with expectations has the name.
    """
    known = declared_tables(defs)
    if table not in known:
        raise UnknownNameError("table with expectations", table, known)
    return known[table]
