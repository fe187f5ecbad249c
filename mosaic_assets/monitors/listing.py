"""Which incidents are open, since when, and what was last decided on them."""

import json
from collections.abc import Sequence
from typing import Any

from mosaic_assets.monitors.incident_log import INCIDENTS, read_events
from mosaic_assets.monitors.incidents import Event, current, is_open
from mosaic_resources.delta.lake import Lake

__all__ = ["open_incidents"]


def open_incidents(lake: Lake) -> list[dict[str, Any]]:
    """Returns the open incidents of all monitors as plain values; ``decision`` is None while none was taken since."""
    if not lake.exists(INCIDENTS):
        return []
    monitors = lake.read(INCIDENTS, columns=["monitor"])["monitor"].unique().to_pylist()
    logs = {monitor: read_events(lake, monitor) for monitor in sorted(monitors)}
    return [_told(lake, monitor, log, event) for monitor, log in logs.items() for event in current(log).values()
            if is_open(event)]  # fmt: skip


def _told(lake: Lake, monitor: str, log: Sequence[Event], event: Event) -> dict[str, Any]:
    since = _at(log, event, "opened")
    return {
        "incident": event.name,
        "monitor": monitor,
        "state": event.state,
        "severity": event.severity,
        "since": since,
        "evaluated": _at(log, event, "observed", "opened"),
        "score": event.score,
        "decision": _last_decision(lake, f"monitors/{monitor}_decision", since),
    }


def _at(log: Sequence[Event], incident: Event, *kinds: str) -> str | None:
    found = [one.at_utc for one in log if one.key == incident.key and one.kind in kinds]
    return max(found).isoformat() if found else None


def _last_decision(lake: Lake, table: str, since: str | None) -> dict[str, Any] | None:
    rows = lake.read(table).sort_by("decided_at").to_pylist() if lake.exists(table) else []
    if not rows or (since is not None and rows[-1]["decided_at"].isoformat() < since):
        return None
    last = rows[-1]
    return {
        "verdict": last["verdict"],
        "at": last["decided_at"].isoformat(),
        "champion": last["champion"],
        "challenger": last["challenger"],
        "reasons": json.loads(last["reasons"]),
    }
