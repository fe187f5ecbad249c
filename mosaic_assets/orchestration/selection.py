"""Which assets a command means, in which runs, and which of them have been declared anew."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from fnmatch import fnmatch

import dagster as dg

from mosaic_resources.errors import UnknownNameError, UserError

__all__ = ["changed_keys", "partitioned_runs", "select", "stands_on"]

Span = tuple[str, str]


def select(defs: dg.Definitions, patterns: Sequence[str]) -> list[str]:
    """Returns the keys that the patterns name, upstream first.

    Args:
        defs: The project's definitions.
        patterns: Keys; ``*`` matches within them, a ``+`` at the end adds all that is downstream.

    Raises:
        UnknownNameError: A pattern matches nothing.
    """
    order = _in_order(defs)
    chosen: set[str] = set()
    for pattern in patterns:
        name, deep = pattern.removesuffix("+"), pattern.endswith("+")
        matched = [key for key in order if fnmatch(key, name)]
        if not matched:
            raise UnknownNameError("asset", name, order)
        chosen.update(matched)
        if deep:
            chosen.update(_downstream(defs, matched))
    return [key for key in order if key in chosen]


def changed_keys(defs: dg.Definitions, instance: dg.DagsterInstance, pending: Sequence[str] = ()) -> list[str]:
    """Returns the materialized assets whose code version differs from the one that made them, and all downstream.

    Args:
        defs: The project's definitions.
        instance: What was materialized.
        pending: Keys that an earlier call named and that were not made since.
    """
    graph, order = defs.resolve_asset_graph(), _in_order(defs)
    changed = []
    for key in order:
        asset = dg.AssetKey(key.split("/"))
        event = instance.get_latest_materialization_event(asset)
        made = event.asset_materialization if event else None
        declared = graph.get(asset).code_version
        if made is not None and declared is not None and (made.tags or {}).get("dagster/code_version") != declared:
            changed.append(key)
    wanted = {*changed, *_downstream(defs, changed), *pending}
    return [key for key in order if key in wanted]


def never_made(defs: dg.Definitions, instance: dg.DagsterInstance) -> list[str]:
    """Returns the keys of the assets that were never materialized, upstream first."""
    return [
        key for key in _in_order(defs) if instance.get_latest_materialization_event(dg.AssetKey(key.split("/"))) is None
    ]


def partitioned_runs(
    defs: dg.Definitions, keys: Sequence[str], partition: str | None, instance: dg.DagsterInstance
) -> list[tuple[list[str], Span | None]]:
    """Returns the runs that make the keys in order: neighbours with the same partitions share one.

    Without ``partition`` a partitioned asset is run for the partitions that it, or what it stands on, already has.

    Raises:
        UserError: No partition was named and none is materialized.
    """
    graph = defs.resolve_asset_graph()
    named = tuple(partition.split("..", 1)) if partition else None
    span_named: Span | None = (named[0], named[-1]) if named else None
    runs: list[tuple[list[str], Span | None]] = []
    for key in keys:
        asset = dg.AssetKey(key.split("/"))
        span = None
        if graph.get(asset).partitions_def is not None:
            span = span_named or _materialized_span(
                graph.get(asset).partitions_def, instance, asset, graph.get(asset).parent_keys
            )
            if span is None:
                raise UserError(
                    "The asset is partitioned and nothing of it exists.", key, "Name it: --partition first..last."
                )
        if runs and runs[-1][1] == span:
            runs[-1][0].append(key)
        else:
            runs.append(([key], span))
    return runs


def stands_on(defs: dg.Definitions, key: str) -> dict[str, list[str]]:
    """Returns the assets downstream of one, by the first part of their keys: datasets, models, services and so on."""
    found: dict[str, list[str]] = {}
    for asset in select(defs, [f"{key}+"]):
        kind, _, name = asset.partition("/")
        if asset != key:
            found.setdefault(kind, []).append(name)
    return found


def _materialized_span(
    partitions: dg.PartitionsDefinition[str] | None,
    instance: dg.DagsterInstance,
    asset: dg.AssetKey,
    parents: AbstractSet[dg.AssetKey],
) -> Span | None:
    for key in (asset, *sorted(parents)):
        found = instance.get_materialized_partitions(key)
        known = [name for name in (partitions.get_partition_keys() if partitions else []) if name in found]
        if known:
            return known[0], known[-1]
    return None


def _in_order(defs: dg.Definitions) -> list[str]:
    graph = defs.resolve_asset_graph()
    return [key.to_user_string() for key in graph.toposorted_asset_keys if key in graph.executable_asset_keys]


def _downstream(defs: dg.Definitions, keys: Sequence[str]) -> set[str]:
    graph = defs.resolve_asset_graph()
    seen: set[dg.AssetKey] = set()
    waiting = [dg.AssetKey(key.split("/")) for key in keys]
    while waiting:
        for child in graph.get(waiting.pop()).child_keys:
            if child not in seen:
                seen.add(child)
                waiting.append(child)
    return {key.to_user_string() for key in seen}
