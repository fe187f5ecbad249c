"""What a running ``mosaic up`` shows, kept in the state folder so that other commands know it for ours."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

__all__ = ["own_ports", "recorded"]

FILE = "up.json"
LOOPBACK = ("127.0.0.1", "localhost")


@contextmanager
def recorded(state: Path, addresses: Mapping[str, str]) -> Iterator[None]:
    """Keeps the addresses that this process shows as long as it shows them.

    Args:
        state: The state folder.
        addresses: Name for people → address.
    """
    file, process = state / FILE, psutil.Process()
    told = {"pid": process.pid, "started": process.create_time(), "state": str(state.resolve())}
    draft = file.with_suffix(f".{os.getpid()}.draft")
    draft.write_text(json.dumps({**told, "addresses": dict(addresses)}))
    draft.replace(file)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def own_ports(state: Path) -> dict[int, str]:
    """Returns port → what of this project listens there: what ``mosaic up`` shows, and endpoints without it.

    What a process left that has died, or lies in a copied folder, is not ours.
    """
    from mosaic_assets.services.endpoints import built_services
    from mosaic_resources.bentos.process import adopt

    found: dict[int, str] = {}
    for service in built_services(state):
        if (endpoint := adopt(state, service)) is not None:
            found[endpoint.port] = f"this project's endpoint '{service}', process {endpoint.pid}"
    told = _living(state)
    for name, address in told.get("addresses", {}).items():
        parts = urlsplit(address)
        if parts.hostname in LOOPBACK and parts.port is not None:
            found.setdefault(parts.port, f"{name} of this project's 'mosaic up', process {told['pid']}")
    return found


def _living(state: Path) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads((state / FILE).read_text())
        same = abs(psutil.Process(told["pid"]).create_time() - told["started"]) < 0.01
        return told if same and told["state"] == str(state.resolve()) else {}
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return {}
