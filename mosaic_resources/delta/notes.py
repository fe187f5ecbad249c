"""What a stream keeps in the log beside its rows: a cursor that is no whole number, for instance."""

import json
from collections.abc import Mapping
from typing import Any

from deltalake import DeltaTable

from mosaic_resources.delta.history import commits_back

__all__ = ["note_for", "note_of"]

NOTE = "mosaic_note"


def note_for(app: str, offset: int, values: Mapping[str, str]) -> dict[str, str]:
    """Returns the metadata of the commit that holds the rows of ``app`` up to ``offset``."""
    return {NOTE: json.dumps({"app": app, "offset": offset, "values": dict(values)})}


def note_of(handle: DeltaTable, app: str, offset: int) -> dict[str, str]:
    """Returns the values noted at ``offset`` of ``app``, looked for from the newest commit back; else none."""
    for entry in commits_back(handle):
        told = _note(entry)
        if told.get("app") == app and told.get("offset") == offset:
            return dict(told["values"])
    return {}


def _note(entry: Mapping[str, Any]) -> dict[str, Any]:
    text = entry.get(NOTE)
    if text is None and NOTE in str(entry.get("userMetadata")):  # As delta-spark keeps it.
        text = json.loads(entry["userMetadata"])[NOTE]
    return dict(json.loads(text)) if text else {}
