"""The shipped fake: an online store in a dict, with the same merge as the real ones."""

from collections.abc import Sequence

from mosaic_resources.online.blob import merge_newest, rows_of
from mosaic_resources.online.layout import BlobLayout, Rows

__all__ = ["MemoryStore"]


class MemoryStore:
    """An ``OnlineStore`` that ends with its process."""

    waits = False

    def __init__(self) -> None:
        self._blobs: dict[bytes, bytes] = {}

    def read(self, layout: BlobLayout, keys: Sequence[bytes | None]) -> list[bytes | None]:
        """See ``OnlineStore``."""
        return [None if key is None else self._blobs.get(layout.schema_id + key) for key in keys]

    def merge(self, layout: BlobLayout, keys: Sequence[bytes], rows: Rows) -> int:
        """See ``OnlineStore``."""
        old = rows_of(layout, self.read(layout, keys))
        merged = merge_newest(layout, old, rows)
        blobs = [row.tobytes() for row in merged]
        num_changed = sum(bool(row.tobytes() != blob) for row, blob in zip(old, blobs, strict=True))
        self._blobs.update((layout.schema_id + key, blob) for key, blob in zip(keys, blobs, strict=True))
        return num_changed

    def close(self) -> None:
        """See ``OnlineStore``."""
