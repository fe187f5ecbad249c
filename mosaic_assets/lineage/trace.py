"""The way back from a prediction, a model or a table to the landed files, and the way down from a file.

A walk over what the steps said (the outbox's rows): a dataset at a version was made by the steps that wrote it
up to that version, each of which read other datasets at versions of their own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mosaic_assets.lineage.record import DatasetUse, StepEvent
from mosaic_assets.lineage.stored import load
from mosaic_resources.errors import UserError
from mosaic_resources.outbox.outbox import Outbox

__all__ = ["Node", "kind_of", "trace_dataset", "trace_down", "trace_model", "trace_prediction"]

NodeKind = Literal[
    "prediction",
    "endpoint",
    "service",
    "model",
    "run",
    "dataset",
    "feature view",
    "online store",
    "table",
    "file",
    "other",
]
FACET_KINDS: Mapping[str, NodeKind] = {
    "mosaic_endpoint": "endpoint",
    "mosaic_service": "service",
    "mosaic_model": "model",
    "mosaic_manifest": "dataset",
    "mosaic_featureView": "feature view",
}
FOLDER_KINDS: Mapping[str, NodeKind] = {"features": "feature view", "datasets": "dataset", "online": "online store"}


@dataclass(frozen=True)
class Node:
    """One thing on the way, and what it was made from (or, on the way down, what was made from it).

    Args:
        kind: What it is.
        name: Name for people: asset key, model, file.
        version: Its version, or None.
        details: Further facts by name: Dagster run, manifest id, address.
        children: The next things on the way.
        repeated: Whether it stands elsewhere in the tree with its children.
    """

    kind: NodeKind
    name: str
    version: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    children: tuple["Node", ...] = ()
    repeated: bool = False

    def walk(self) -> Iterator["Node"]:
        """Yields this node and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def trace_prediction(outbox: Outbox, row: Mapping[str, object]) -> Node:
    """Returns the way from one answered request back to the landed files.

    Args:
        outbox: What the steps said.
        row: Row of the inference table (or of a batch of predictions): ``request_id``, ``model_version``, and
            ``served_entity_id`` (``<registered model>/<version>``) or ``registered_model_name``.

    Raises:
        UserError: The row names no model.
    """
    version = str(row.get("model_version") or "")
    model = str(row.get("registered_model_name") or str(row.get("served_entity_id") or "").rpartition("/")[0])
    if not version or not model:
        raise UserError("The row names no model version.", f"request {row.get('request_id')}")
    walk = _Walk(outbox)
    missing = Node("model", model, version, {"missing": "no lineage of it was kept"})
    way = walk.serving(model, version) or walk.model(model, version) or missing
    if way.kind != "endpoint" and row.get("served_entity_id"):
        name = str(row.get("service") or (way.name.rpartition("/")[2] if way.kind == "service" else model))
        way = Node("endpoint", name, None, {"answered_with": str(row["served_entity_id"])}, (way,))
    names = ("client_request_id", "timestamp_ms", "status_code", "date")
    details = {name: str(row[name]) for name in names if row.get(name) is not None}
    return Node("prediction", str(row.get("request_id")), None, details, (way,))


def trace_dataset(outbox: Outbox, name: str, version: str | None = None) -> Node:
    """Returns the way from a dataset back to the landed files.

    Args:
        outbox: What the steps said.
        name: Asset key (``tables/flights``), model name, path, or the end of a dataset's name.
        version: Version to begin at; default: the newest.

    Raises:
        UserError: Nothing of the name was ever written or read, or several things were.
    """
    walk = _Walk(outbox)
    return walk.up(_find(outbox, name), version, None)


def trace_model(outbox: Outbox, name: str, version: str | None = None) -> Node:
    """Returns the way from a registered model back to the landed files.

    Args:
        outbox: What the steps said.
        name: Name in the registry.
        version: Version to begin at; default: the newest.

    Raises:
        UserError: No step has registered the model, or not that version.
    """
    walk = _Walk(outbox)
    known = walk.model_versions(name)
    newest = version or max(known, key=lambda one: (one.isdigit(), int(one) if one.isdigit() else 0, one), default=None)
    way = walk.model(name, newest) if newest in known and newest is not None else None
    if way is None:
        hint = f"Known versions: {', '.join(known)}." if known else "Materialize models/<name> first."
        raise UserError(
            f"No step has registered the model '{name}'" + (f" version {version}." if version else "."), do=hint
        )
    return way


def trace_down(outbox: Outbox, name: str) -> Node:
    """Returns everything that was made from a dataset or file, at any version.

    Raises:
        UserError: Nothing of the name was ever written or read, or several things were.
    """
    return _Walk(outbox).down(_find(outbox, name))


def kind_of(use: DatasetUse) -> NodeKind:
    """Returns what a dataset is, by its facets, else by the folder of its asset key."""
    for facet, kind in FACET_KINDS.items():
        if facet in use.facets:
            return kind
    if use.facets.get("datasetType", {}).get("datasetType") == "FILE":
        return "file"
    return FOLDER_KINDS.get(use.asset_key.partition("/")[0], "table" if use.asset_key else "other")


def _find(outbox: Outbox, name: str) -> tuple[str, str]:
    found = [key for key in outbox.datasets() if key[1].endswith(name)] if outbox.exists else []
    exact = [key for key in found if key[1] == name or key[1].endswith(f"/{name}")]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if not found:
        raise UserError(f"No step has read or written '{name}'.", str(outbox.file), "Materialize it first.")
    raise UserError(f"'{name}' names several datasets.", None, f"One of: {', '.join(key[1] for key in found[:5])}.")


class _Walk:
    """One walk; each (dataset, version) is expanded once.

    Args:
        outbox: What the steps said.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._datasets = outbox.datasets() if outbox.exists else []
        self._expanded: set[tuple[object, ...]] = set()
        self._events: dict[tuple[str, str, bool], list[tuple[int, StepEvent]]] = {}

    def up(self, key: tuple[str, str], version: str | None, before: int | None, use: DatasetUse | None = None) -> Node:
        """Returns a dataset at a version with everything that it was made from.

        Args:
            key: Namespace and name.
            version: The version that was read; None: the newest.
            before: Order number of the event that read it; only earlier writes count where versions do not tell.
            use: How the reader named it.
        """
        writes = self._contributions(key, version, before)
        newest = next((written for _, _, written in writes), None)
        about = newest or use or DatasetUse(*key)
        mark = (*key, version or (newest.version if newest else None))
        repeated = mark in self._expanded
        self._expanded.add(mark)
        children = () if repeated else self._inputs(writes)
        details = self._details(about, writes)
        if kind_of(about) == "model" and "mlflow_run" in details and not repeated:
            children = (Node("run", details["mlflow_run"], None, {}, children),)
        return Node(kind_of(about), self._label(about), version or about.version, details, children, repeated)

    def down(self, key: tuple[str, str]) -> Node:
        """Returns a dataset with everything that was made from it."""
        reads = self._naming(key, as_output=False)
        writes = self._naming(key, as_output=True)
        uses = [use for _, event in writes for use in event.record.outputs if use.key == key]
        uses += [use for _, event in reads for use in event.record.inputs if use.key == key]
        about = uses[0] if uses else DatasetUse(*key)
        repeated = key in self._expanded
        self._expanded.add(key)
        made = {use.key: None for _, event in reads for use in event.record.outputs if use.key != key}
        children = () if repeated else tuple(self.down(other) for other in made)
        return Node(kind_of(about), self._label(about), None, self._details(about, ()), children, repeated)

    def model(self, name: str, version: str) -> Node | None:
        """Returns a registered model's version with everything that it was made from; None: never recorded."""
        for key in [key for key in self._datasets if key[1] == name]:
            for number, event in self._naming(key, as_output=True):
                for use in event.record.outputs:
                    facet = use.facets.get("mosaic_model", {})
                    if use.key == key and facet.get("registeredModelName") == name and use.version == version:
                        return self.up(key, version, number + 1)
        return None

    def model_versions(self, name: str) -> list[str]:
        """Returns the versions of a registered model that were recorded, oldest first."""
        found: dict[str, None] = {}
        for key in [key for key in self._datasets if key[1] == name]:
            for _, event in self._naming(key, as_output=True):
                for use in event.record.outputs:
                    named = use.facets.get("mosaic_model", {}).get("registeredModelName") == name
                    if use.key == key and named and use.version:
                        found[use.version] = None
        return list(found)

    def serving(self, model: str, version: str) -> Node | None:
        """Returns the newest endpoint that served a model version; None: never recorded."""
        found = []
        for key in [key for key in self._datasets if key[0] in ("mosaic-endpoint", "bentoml")]:
            for number, event in self._naming(key, as_output=True):
                for use in event.record.outputs:
                    values = {**use.facets.get("mosaic_endpoint", {}), **use.facets.get("mosaic_service", {})}
                    same_model = values.get("registeredModelName", model) == model
                    if use.key == key and values.get("modelVersion") == version and same_model:
                        found.append((key[0] == "mosaic-endpoint", number, use))
        if not found:
            return None
        _, number, use = max(found, key=lambda item: item[:2])
        return self.up(use.key, use.version, number + 1)

    def _contributions(
        self, key: tuple[str, str], version: str | None, before: int | None
    ) -> list[tuple[int, StepEvent, DatasetUse]]:
        """Returns the writes that a version consists of, newest first.

        A write replaces what earlier ones of the same partitions wrote; one without partitions replaces all, unless
        it only appends, as the ingest of landed files does.
        """
        found: list[tuple[int, StepEvent, DatasetUse]] = []
        covered: set[str] = set()
        for number, event in reversed(self._naming(key, as_output=True)):
            written = next(use for use in event.record.outputs if use.key == key)
            if not _counts(written.version, version, number, before):
                continue
            partitions = set(filter(None, (event.record.identity.partition or "").split(",")))
            if partitions and partitions <= covered:
                continue
            covered |= partitions
            found.append((number, event, written))
            if not partitions and not _appends(event):
                break
        # A run that found nothing new reads nothing; it only counts where there is no other.
        return [write for write in found if write[1].record.inputs] or found[:1]

    def _inputs(self, writes: Sequence[tuple[int, StepEvent, DatasetUse]]) -> tuple[Node, ...]:
        """Returns the inputs of writes, each dataset once, at the newest version that was read."""
        newest: dict[tuple[str, str], tuple[int, DatasetUse]] = {}
        for number, event, written in writes:
            for use in event.record.inputs:
                if use.key != written.key and (
                    use.key not in newest or _later(use.version, newest[use.key][1].version)
                ):
                    newest[use.key] = number, use
        # A run that found nothing new says only which folder it looked into: its files, named by others, say more.
        told = {str(Path(use.name).parent) for _, use in newest.values() if kind_of(use) == "file"}
        known = {key: value for key, value in newest.items() if key[1] not in told}
        order = sorted(known.items(), key=lambda item: (kind_of(item[1][1]) == "file", item[0]))
        return tuple(self.up(key, use.version, number, use) for key, (number, use) in order)

    def _naming(self, key: tuple[str, str], *, as_output: bool) -> list[tuple[int, StepEvent]]:
        wanted = (*key, as_output)
        if wanted not in self._events:
            kept = self._outbox.naming(*key, as_output=as_output)
            self._events[wanted] = [(event.id, load(event.body)) for event in kept]
        return self._events[wanted]

    @staticmethod
    def _label(use: DatasetUse) -> str:
        return use.asset_key or use.name

    @staticmethod
    def _details(use: DatasetUse, writes: Sequence[tuple[int, StepEvent, DatasetUse]]) -> dict[str, str]:
        facets = {name: dict(values) for name, values in use.facets.items()}
        told = {
            "mlflow_run": facets.get("mosaic_model", {}).get("runId"),
            "manifest": facets.get("mosaic_manifest", {}).get("manifestId")
            or facets.get("mosaic_model", {}).get("manifestId"),
            "bento": facets.get("mosaic_endpoint", {}).get("bentoTag")
            or facets.get("mosaic_service", {}).get("bentoTag"),
            "address": use.uri,
            "rows": use.row_count,
            "dagster_run": writes[0][1].record.identity.dagster_run_id if writes else None,
            "writes": len(writes) if len(writes) > 1 else None,
            "state": "failed" if writes and writes[0][1].kind != "COMPLETE" else None,
        }
        return {name: str(value) for name, value in told.items() if value not in (None, "")}


def _counts(written: str | None, wanted: str | None, number: int, before: int | None) -> bool:
    """Returns whether a write is at or before what was read: by version where both are numbers, else by order."""
    if written is not None and wanted is not None:
        if written.isdigit() and wanted.isdigit():
            return int(written) <= int(wanted)
        return written == wanted
    return before is None or number < before


def _later(version: str | None, other: str | None) -> bool:
    return (
        version is not None
        and other is not None
        and version.isdigit()
        and other.isdigit()
        and int(version) > int(other)
    )


def _appends(event: StepEvent) -> bool:
    """Returns whether a write adds to what was there: it read landed files alone, or nothing that is new."""
    return all(kind_of(use) == "file" for use in event.record.inputs)
