"""Looks at the machine before anything is downloaded. Runs on the system's Python, so only the standard library."""

import importlib.util
import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Measured: what uv fetches, what environment and cache take together with what the story leaves, seconds to unpack.
DOWNLOAD_GB, INSTALLED_GB, STORY_GB, UNPACK_SECONDS = 4.0, 9.5, 1.5, 90
MEMORY_GB = 6.0
SLOW_GB_PER_SECOND = 0.010
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Machine:
    """What was found.

    Args:
        here: Folder of the checkout.
        cache: Folder that downloads go to.
        python: Version of the Python that will make the environment.
        implementation: CPython, PyPy …
        has_venv: Whether that Python can make environments.
        writable: Whether the checkout can be written.
        free_gb: Free on the checkout's disk.
        cache_free_gb: Free on the cache's disk, where it is another; else None.
        held_gb: What an earlier try has left in environment and cache, which takes no more room.
        cached_gb: What of it is in the cache, which is not downloaded again.
        memory_gb: Memory of the machine, or of the container that this runs in.
        binds: Whether a port of 127.0.0.1 can be bound.
    """

    here: Path
    cache: Path
    python: tuple[int, ...]
    implementation: str
    has_venv: bool
    writable: bool
    free_gb: float
    cache_free_gb: float | None
    held_gb: float
    cached_gb: float
    memory_gb: float
    binds: bool


def look(here: Path, cache: Path) -> Machine:
    """Returns what this machine is like."""
    above = next(folder for folder in (cache, *cache.parents) if folder.exists())
    apart = above.stat().st_dev != here.stat().st_dev
    return Machine(
        here, cache, tuple(sys.version_info[:3]), platform.python_implementation(),
        has_venv=all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")),
        writable=os.access(here, os.W_OK),
        free_gb=shutil.disk_usage(here).free / 1e9,
        cache_free_gb=shutil.disk_usage(above).free / 1e9 if apart else None,
        held_gb=held_gb([here / ".venv", cache]),
        cached_gb=held_gb([cache]),
        memory_gb=memory_gb(),
        binds=binds("127.0.0.1"),
    )  # fmt: skip


def problems(machine: Machine) -> Iterator[str]:
    """Yields each thing that keeps the installation or the story from working, and what to do about it."""
    version = ".".join(map(str, machine.python))
    if machine.implementation != "CPython" or not (3, 11) <= machine.python[:2] <= (3, 12):
        what = f"This is {machine.implementation} {version}, not CPython 3.11 or 3.12."
        yield f"{what} Install one, or run: make PYTHON=/path/to/python3.11"
    if not machine.has_venv:
        name = f"python{machine.python[0]}.{machine.python[1]}-venv"
        yield f"This Python makes no environments. Install its venv module (Debian, Ubuntu: apt-get install {name})."
    if not machine.writable:
        yield f"{machine.here} cannot be written. Clone into a folder of yours."
    to_come_gb = max(INSTALLED_GB - machine.held_gb, 0)
    need_gb = to_come_gb + STORY_GB
    if machine.free_gb < need_gb:
        what = f"{machine.free_gb:.1f} GB free in {machine.here}, {need_gb:.0f} GB needed."
        yield f"{what} Free some, or clone elsewhere."
    if machine.cache_free_gb is not None and machine.cache_free_gb < to_come_gb:
        yield f"{machine.cache_free_gb:.1f} GB free for {machine.cache}, {to_come_gb:.1f} GB needed. Set UV_CACHE_DIR."
    if machine.memory_gb < MEMORY_GB:
        yield f"{machine.memory_gb:.1f} GB of memory, {MEMORY_GB:.0f} GB needed. Give the machine or container more."
    if not machine.binds:
        yield "No port of 127.0.0.1 can be bound, and the servers of the story need some. Allow it in the sandbox."


def promise(machine: Machine) -> str:
    """Returns what will be downloaded, where to, what a cache that is there changes, and how long that takes."""
    slow_minutes = (DOWNLOAD_GB / SLOW_GB_PER_SECOND + UNPACK_SECONDS) / 60
    if machine.cached_gb > 0.1:
        download = (
            f"The cache {machine.cache} holds {machine.cached_gb:.1f} GB of unpacked packages. "
            f"Only what it lacks is downloaded, at most about {DOWNLOAD_GB:.0f} GB; "
            f"nothing, and {UNPACK_SECONDS / 60:.1f} minutes, where it lacks nothing."
        )
    else:
        download = (
            f"About {DOWNLOAD_GB:.0f} GB are downloaded (mostly the CUDA libraries that torch brings) "
            f"and kept unpacked in the cache {machine.cache}. "
            f"About two minutes from a fast mirror, {slow_minutes:.0f} at 10 MB/s."
        )
    python = ".".join(map(str, machine.python))
    return (
        f"{download}\nInstalling into {machine.here / '.venv'}: {INSTALLED_GB:.1f} GB on disk with the cache.\n"
        f"Python {python}, {machine.free_gb:.0f} GB free, {machine.memory_gb:.0f} GB of memory."
    )


def cache_folder() -> Path:
    """Returns the folder that uv downloads to: the user's, or one beside the checkout's environment."""
    return Path(os.environ.get("UV_CACHE_DIR") or Path.cwd() / ".uv-cache").absolute()


def held_gb(folders: list[Path]) -> float:
    """Returns what the folders hold, in GB; a file that both name by a hard link counts once."""
    sizes = {}
    for folder in folders:
        for root, _, names in os.walk(folder):
            for name in names:
                found = os.lstat(os.path.join(root, name))
                sizes[found.st_dev, found.st_ino] = found.st_size
    return sum(sizes.values()) / 1e9


def memory_gb(limits: tuple[str, ...] = LIMITS) -> float:
    """Returns the memory that may be used, in GB: the machine's, or less where the container sets a limit."""
    amounts = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in map(Path, limits):
        text = file.read_text().strip() if file.is_file() else ""
        amounts += [int(text)] if text.isdigit() else []
    return min(amounts) / 1e9


def binds(host: str) -> bool:
    """Returns whether a port of ``host`` can be bound and listened on."""
    try:
        with socket.create_server((host, 0)):
            return True
    except OSError:
        return False


def main() -> int:
    """Prints what will be downloaded, or what is in the way and returns 1."""
    here = Path.cwd()
    machine = look(here, cache_folder())
    wrong = list(problems(machine))
    for problem in wrong:
        print(f"  cannot install: {problem}")
    if not wrong:
        print(promise(machine), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
