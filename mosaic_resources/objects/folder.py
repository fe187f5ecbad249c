"""A folder of an object store: which files it holds, and copies of them on local disk.

``obstore`` is the same library in Rust that delta-rs reads tables with, so the names of the options are the same.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosaic_resources.errors import DependencyError, MosaicError, UserError, missing_extra
from mosaic_resources.settings.references import hidden, resolved_options

__all__ = ["SCHEMES", "ObjectFolder", "StoredObject", "engine_environment"]

SCHEMES = ("s3", "s3a", "gs", "az", "abfs", "abfss")
PROVIDERS = ("aws_", "azure_", "google_")
# Options of the HTTP client, which obstore takes apart from those of the store.
CLIENT = ("allow_http", "allow_invalid_certificates", "connect_timeout", "proxy_url", "timeout", "user_agent")
# A list that fails is a GenericError, whatever its status.
REFUSED = ("PermissionDeniedError", "UnauthenticatedError", " 401 ", " 403 ")
ABSENT = ("NotFoundError", "FileNotFoundError", " 404 ")


@dataclass(frozen=True)
class StoredObject:
    """One object.

    Args:
        path: Relative to the folder.
        size_bytes: Its size.
        mark: A number that is another when the content is: of the e-tag, else the time in nanoseconds.
    """

    path: str
    size_bytes: int
    mark: int


class ObjectFolder:
    """A folder ``s3://bucket/folder`` (also gs, az, abfs).

    Args:
        address: The folder.
        options: Options of the store as declared, ``aws_region: eu-central-1``; ``${NAME}`` for what is secret. What
            is left out is taken from the store's own environment variables and the machine's identity.
        where: Asset, for messages.

    Raises:
        UserError: The scheme or an option is not known, a variable is not set, or a secret is written in place.
        DependencyError: The package is not installed.
    """

    def __init__(self, address: str, options: Mapping[str, str], where: str) -> None:
        scheme = address.partition("://")[0]
        if scheme not in SCHEMES:
            raise UserError(f"'{scheme}://' is no object store.", where, f"Known: {', '.join(SCHEMES)}.")
        told = resolved_options(options, where)
        try:
            import obstore
            from obstore.store import from_url
        except ModuleNotFoundError as exc:
            raise missing_extra("obstore", "objects") from exc
        self._obstore: Any = obstore
        open_store: Any = from_url
        self.address, self._options, self._where = address.rstrip("/"), dict(options), where
        plain = {name.lower(): value for name, value in told.items()}
        client = {name: value for name in CLIENT if (value := _client(plain, name)) is not None}
        config = {name: value for name, value in plain.items() if _without_provider(name) not in CLIENT}
        try:
            self._store = open_store(
                self.address, config=config, client_options=client, retry_config={"max_retries": 3}
            )
        except Exception as exc:
            raise UserError(f"The store cannot be opened: {self._told(exc)}", where, "Check its options.") from None

    def list(self) -> Iterator[StoredObject]:
        """Yields the objects below the folder.

        Raises:
            UserError: The store refuses the credential, or there is no such bucket.
            DependencyError: The store does not answer.
        """
        with self._errors():
            for batch in self._obstore.list(self._store):
                for one in batch:
                    yield StoredObject(one["path"], int(one["size"]), _mark(one))

    def copy(self, paths: Iterable[str], folder: Path) -> None:
        """Copies objects to a local folder, under the same relative paths and with the same times."""
        for path in paths:
            file = folder / path
            if not file.resolve().is_relative_to(folder.resolve()):
                raise UserError(f"'{path}' leads out of its folder.", self.address)
            file.parent.mkdir(parents=True, exist_ok=True)
            with self._errors():
                found = self._obstore.get(self._store, path)
                with file.open("wb") as out:
                    for chunk in found.stream():
                        out.write(bytes(chunk))
                moment = found.meta["last_modified"].timestamp()
                os.utime(file, (moment, moment))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (self._obstore.exceptions.BaseError, OSError) as exc:
            raise self._failure(exc) from None  # Its text may hold a secret.

    def _failure(self, exc: Exception) -> MosaicError:
        told = self._told(exc)
        signs = f"{type(exc).__name__}: {told}"
        check = f"Check {self.address} and its options."
        if any(sign in signs for sign in REFUSED):
            return UserError(f"The store refuses the credential: {told}", self._where, check)
        if any(sign in signs for sign in ABSENT):
            return UserError(f"The store has no such thing: {told}", self._where, check)
        return DependencyError(f"The store cannot be read: {told}", self._where, check)

    def _told(self, exc: Exception) -> str:
        text = " ".join(hidden(str(exc), self._options.values()).split("Debug source")[0].split())[:400]
        return text if text.endswith(".") else f"{text}."


def engine_environment(options: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables under which an engine finds the same store.

    Example:
        >>> engine_environment({"aws_region": "eu-central-1", "allow_http": "true", "other": "x"})
        {'AWS_REGION': 'eu-central-1', 'AWS_ALLOW_HTTP': 'true'}
    """
    plain = {name.lower(): value for name, value in options.items()}
    found = {name.upper(): value for name, value in plain.items() if name.startswith(PROVIDERS)}
    providers = {name.partition("_")[0] for name in found}
    return found | {f"{one}_{name.upper()}": plain[name] for one in providers for name in CLIENT if name in plain}


def _client(options: Mapping[str, str], name: str) -> object:
    value = next((options[key] for key in (name, *(f"{one}{name}" for one in PROVIDERS)) if key in options), None)
    return value.lower() == "true" if value is not None and name.startswith("allow_") else value


def _without_provider(name: str) -> str:
    return next((name.removeprefix(one) for one in PROVIDERS if name.startswith(one)), name)


def _mark(one: Mapping[str, Any]) -> int:
    if one.get("e_tag"):
        return int.from_bytes(hashlib.sha256(one["e_tag"].encode()).digest()[:8], "big") >> 1
    return int(one["last_modified"].timestamp() * 1_000_000) * 1_000
