"""The lock of a project that keeps none: what is installed here, name by name, with hashes where they are known."""

import sys
from collections.abc import Callable, Iterable
from importlib import metadata

from mosaic_resources.bentos.requirements import closure, installed_requirements, read_lock, refuse_heavy
from mosaic_resources.errors import DependencyError

__all__ = ["installed_lock", "installed_version"]

# Where this platform has no such package, the service runs without it.
NOT_ON_WINDOWS = frozenset({"uvloop"})


def installed_version(name: str) -> str | None:
    """Returns the version of an installed package, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def installed_lock(
    roots: Iterable[str],
    known: str = "",
    requires: Callable[[str], list[str]] = installed_requirements,
    version: Callable[[str], str | None] = installed_version,
) -> str:
    """Returns the lock of ``roots`` and everything they require, as installed here.

    With hashes where ``known`` has them for each of these versions; else without any, since pip takes all or none.

    Args:
        roots: Packages that are needed.
        known: A hash-locked requirements file; empty where there is none.
        requires: Package → its requirements, as in its metadata.
        version: Package → its installed version.

    Raises:
        DependencyError: Something needed is not installed.
        InternalError: Something came along that a served Bento must not hold.
    """
    needed = closure(roots, requires)
    refuse_heavy(needed)
    left_out = NOT_ON_WINDOWS if sys.platform == "win32" else frozenset()
    found = {name: version(name) for name in sorted(needed - left_out)}
    absent = [name for name, text in found.items() if text is None]
    if absent:
        raise DependencyError(
            f"'{absent[0]}' is not installed here, and the service needs it.",
            "the lock of the Bento",
            "Install 'mosaic-assets[serve]' and the extra of the online store, or keep a requirements.lock.",
        )
    blocks = read_lock(known)
    if all(blocks.get(name, "").split(" ", 1)[0] == f"{name}=={text}" for name, text in found.items()):
        return "# As installed where this was built, with hashes.\n" + "".join(blocks[name] for name in found)
    lines = "".join(f"{name}=={text}\n" for name, text in found.items())
    return "# As installed where this was built; no hashes are known for these versions.\n" + lines
