"""What an online store must do."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from mosaic_resources.errors import UserError
from mosaic_resources.online.layout import BlobLayout, Rows

__all__ = ["OnlineStore", "make_online_store"]


class OnlineStore(Protocol):
    """Keeps the newest row of every entity, in blobs of a layout. Three methods make a store.

    Example:
        A store over a dict is ``mosaic_resources.online.memory.MemoryStore``. In the settings an address
        chooses the store: ``online = ".mosaic/online"`` is LMDB, ``online = "memory://"`` the dict,
        ``online = "redis://cache:6379/0"`` and ``online = "postgresql://db/features"`` are servers.
    """

    waits: bool
    """Whether a read may wait for another machine, so that an event loop must not do it itself."""

    def read(self, layout: BlobLayout, keys: Sequence[bytes | None]) -> list[bytes | None]:
        """Returns the blob of each key, None where there is none; all from one snapshot."""
        ...

    def merge(self, layout: BlobLayout, keys: Sequence[bytes], rows: Rows) -> int:
        """Merges rows into the stored ones, newest wins for each view, whoever else writes.

        A key's row changes whole. LMDB and PostgreSQL do all keys in one transaction, Redis a thousand at a time.

        Args:
            layout: The group that the rows belong to.
            keys: (rows,) keys, each once.
            rows: (rows,) incoming rows.

        Returns:
            How many entities changed.
        """
        ...

    def close(self) -> None:
        """Gives back what the store holds open."""
        ...


def make_online_store(address: str, *, read_only: bool = False) -> OnlineStore:
    """Returns the store at an address.

    Args:
        address: A folder (LMDB), ``lmdb://<folder>``, ``memory://``, ``redis://host:port/db``, or
            ``postgresql://host:port/database``.
        read_only: Whether this process only reads; the store must exist then.

    Raises:
        UserError: Nothing of ours speaks that scheme.
        DependencyError: The store cannot be opened.
    """
    scheme, separator, rest = address.partition("://")
    if not separator or scheme in ("lmdb", "file"):
        from mosaic_resources.online.lmdb_store import LmdbStore

        return LmdbStore(Path(rest if separator else address), read_only=read_only)
    if scheme == "memory":
        from mosaic_resources.online.memory import MemoryStore

        return MemoryStore()
    if scheme in ("redis", "rediss"):
        from mosaic_resources.online.redis_store import RedisStore

        return RedisStore(address, read_only=read_only)
    if scheme in ("postgresql", "postgres"):
        from mosaic_resources.online.postgres_store import PostgresStore

        return PostgresStore(address, read_only=read_only)
    raise UserError(
        f"The scheme '{scheme}' is unknown.", "online store", "Known: a folder, lmdb, memory, redis, postgresql."
    )
