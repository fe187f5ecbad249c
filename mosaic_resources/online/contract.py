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
        chooses the store: ``online = ".mosaic/online"`` is LMDB, ``online = "memory://"`` the dict.
    """

    def read(self, layout: BlobLayout, keys: Sequence[bytes | None]) -> list[bytes | None]:
        """Returns the blob of each key, None where there is none; all from one snapshot."""
        ...

    def merge(self, layout: BlobLayout, keys: Sequence[bytes], rows: Rows) -> int:
        """Merges rows into the stored ones, newest wins for each view, in one transaction.

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
        address: A folder (LMDB), ``lmdb://<folder>``, or ``memory://``.
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
    raise UserError(f"The scheme '{scheme}' is unknown.", f"online store '{address}'", "Known: a folder, lmdb, memory.")
