"""The part of a hash-locked requirements file that a served Bento needs."""

import re
from collections.abc import Callable, Iterable
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mosaic_resources.errors import InternalError, UserError

__all__ = ["FORBIDDEN", "ROOTS", "closure", "filter_lock", "installed_requirements", "read_lock", "refuse_heavy"]

AGAIN = (
    "Lock again with the extra 'serve', that of the online store, and hashes ('make lock', uv pip compile "
    "--generate-hashes); or remove the file: then what is installed here is locked."
)

# What the runtime imports, what BentoML's server needs to be quick, and time zones for on-demand functions.
ROOTS = (
    "bentoml",
    "httptools",
    "lmdb",
    "numpy",
    "onnxruntime",
    "orjson",
    "pydantic",
    "starlette",
    "tzdata",
    "uvicorn",
    "uvloop",
)
FORBIDDEN = frozenset({"dagster", "deltalake", "mlflow", "mosaicml", "pandas", "pyarrow", "pysail", "pyspark", "torch"})
PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==")


def read_lock(text: str) -> dict[str, str]:
    """Returns package → its lines (pin, marker, hashes) of a hash-locked requirements file.

    Raises:
        UserError: A pin has no hash.
    """
    blocks: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        pin = PIN.match(line)
        if pin:
            name = canonicalize_name(pin[1])
        if name and line.strip() and not line.lstrip().startswith("#"):
            blocks[name] = blocks.get(name, "") + line.rstrip() + "\n"
    unhashed = [name for name, block in blocks.items() if "--hash=" not in block]
    if unhashed:
        raise UserError(f"'{unhashed[0]}' is locked without a hash.", "requirements.lock", AGAIN)
    return blocks


def installed_requirements(name: str) -> list[str]:
    """Returns what an installed package requires; nothing for one that this platform does without."""
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []


def filter_lock(
    text: str, roots: Iterable[str] = ROOTS, requires: Callable[[str], list[str]] = installed_requirements
) -> str:
    """Returns the lock of ``roots`` and everything they require on this platform, with hashes, no index address.

    Args:
        text: The project's lock.
        roots: Packages that are needed.
        requires: Package → its requirements, as in its metadata.

    Raises:
        UserError: Something needed is not in the lock.
        InternalError: Something came along that a served Bento must not hold.
    """
    blocks = read_lock(text)
    needed = closure(roots, requires)
    absent = sorted(needed - blocks.keys())
    if absent:
        raise UserError(
            f"'{absent[0]}' is not in the lock.",
            "requirements.lock",
            AGAIN,
        )
    refuse_heavy(needed)
    return "".join(blocks[name] for name in sorted(needed))


def refuse_heavy(names: Iterable[str]) -> None:
    """Looks that a served Bento holds none of the factory's packages.

    Raises:
        InternalError: It does.
    """
    heavy = sorted(FORBIDDEN.intersection(names))
    if heavy:
        raise InternalError(f"A served Bento would need '{heavy[0]}'.")


def closure(roots: Iterable[str], requires: Callable[[str], list[str]]) -> set[str]:
    """Returns ``roots`` and everything they require on this platform, by canonical name."""
    seen: set[tuple[str, str]] = set()
    waiting = [(canonicalize_name(name), "") for name in roots]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for text in requires(name):
            wanted = Requirement(text)
            if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(wanted.name), given) for given in ("", *wanted.extras)]
    return {name for name, _ in seen}
