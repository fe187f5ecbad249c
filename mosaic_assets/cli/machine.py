"""What a command stands on before anything starts: Python, disk, memory, ports."""

import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mosaic_resources.errors import DependencyError

__all__ = ["Finding", "disk", "loopback", "machine", "memory", "port_free", "python", "require"]

# With room to spare over what the example story leaves in the state folder and its processes take together.
MIN_DISK_GB, MIN_MEMORY_GB, GOOD_MEMORY_GB = 2.0, 1.5, 4.0


@dataclass(frozen=True)
class Finding:
    """The verdict on one thing.

    Args:
        about: What was looked at.
        verdict: ``ok``; ``note``, which works but is worth knowing; ``problem``, which does not work.
        text: What was found.
        do: What to do about it.
    """

    about: str
    verdict: Literal["ok", "note", "problem"]
    text: str
    do: str = ""


def machine(state: Path) -> Iterator[Finding]:
    """Yields the findings on this machine, with the state folder at ``state``."""
    import psutil

    yield python(tuple(sys.version_info[:3]))
    folder = next(parent for parent in (state, *state.parents) if parent.exists())
    yield disk(folder, shutil.disk_usage(folder).free)
    free = psutil.virtual_memory()
    yield memory(free.available, free.total)
    yield loopback()


def require(findings: Iterator[Finding]) -> None:
    """Ensures that none of the findings is a problem.

    Raises:
        DependencyError: One is.
    """
    for finding in findings:
        if finding.verdict == "problem":
            raise DependencyError(finding.text, finding.about, finding.do)


def python(version: tuple[int, ...]) -> Finding:
    """Returns the verdict on a version of Python."""
    found = ".".join(map(str, version))
    if (3, 11) <= version[:2] <= (3, 12):
        return Finding("python", "ok", f"{found} on {platform.system()} {platform.machine()}")
    return Finding("python", "problem", f"{found} is neither 3.11 nor 3.12.", "Make the environment with one of these.")


def disk(folder: Path, free_bytes: int) -> Finding:
    """Returns the verdict on the disk of a folder that is there."""
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return Finding("disk", "problem", f"{folder} cannot be written.", "Set MOSAIC_STATE to a folder of yours.")
    free_gb = free_bytes / 1e9
    if free_gb < MIN_DISK_GB:
        return Finding("disk", "problem", f"{free_gb:.1f} GB free below {folder}.", "Free some, or set MOSAIC_STATE.")
    return Finding("disk", "ok", f"{free_gb:.0f} GB free below {folder}")


def memory(available_bytes: int, total_bytes: int) -> Finding:
    """Returns the verdict on the memory that nobody uses."""
    available_gb = available_bytes / 1e9
    text = f"{available_gb:.1f} of {total_bytes / 1e9:.1f} GB free, {os.cpu_count()} cores"
    if available_gb < MIN_MEMORY_GB:
        return Finding("memory", "problem", f"{text}; {MIN_MEMORY_GB} GB needed.", "Close something.")
    if available_gb < GOOD_MEMORY_GB:
        return Finding("memory", "note", text, "Close something, or set MOSAIC_ENGINE_MEMORY_BYTES lower.")
    return Finding("memory", "ok", text)


def loopback(host: str = "127.0.0.1") -> Finding:
    """Returns whether a server can listen on some port of ``host``."""
    try:
        with socket.create_server((host, 0)):
            return Finding("loopback", "ok", f"ports of {host} can be bound")
    except OSError as exc:
        what = f"No port of {host} can be bound: {exc.strerror}."
        return Finding("loopback", "problem", what, "Allow it: the engine and the endpoint listen there.")


def port_free(port: int, name: str, own: Mapping[int, str] | None = None) -> Finding:
    """Returns whether a server gets the port that it prefers.

    Args:
        port: The port.
        name: The server.
        own: Port → what of this project listens there.
    """
    if own and port in own:
        return Finding(f"port {port}", "ok", f"{own[port]}, listens there")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return Finding(f"port {port}", "note", f"It is taken; {name} gets another one.")
    return Finding(f"port {port}", "ok", f"free for {name}")
