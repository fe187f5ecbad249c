"""What the bytes of an online row mean: fields, views, groups of views with equal join keys.

    schema id 8 | view: event_us int64, known_us int64, null bitmap, values | next view ...

Values take 8 bytes (int64, float64, bool, timestamp in microseconds) or ``width`` bytes (UTF-8 string, padded
with NUL). An event time of ``ABSENT`` means that the entity has no row in that view. Floats keep every bit.
"""

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from mosaic_resources.errors import InternalError, UserError

__all__ = ["ABSENT", "BlobLayout", "FieldLayout", "Rows", "ViewLayout"]

ABSENT = int(np.iinfo(np.int64).min)
Rows = npt.NDArray[np.void]
STORED = {"int64": "<i8", "float64": "<f8", "bool": "<i8", "timestamp": "<i8"}


@dataclass(frozen=True)
class FieldLayout:
    """One feature. ``dtype``: int64, float64, bool, timestamp or string; ``width``: bytes that a value takes."""

    name: str
    dtype: str
    width: int = 8

    @property
    def stored(self) -> str:
        """The numpy type of the stored value."""
        if self.dtype == "string":
            return f"S{self.width}"
        if self.dtype not in STORED:
            raise UserError(
                f"Type '{self.dtype}' has no online form.",
                f"feature '{self.name}'",
                f"Known: string, {', '.join(STORED)}.",
            )
        return STORED[self.dtype]


@dataclass(frozen=True)
class ViewLayout:
    """The features of one view that the service uses, in order."""

    name: str
    fields: tuple[FieldLayout, ...]


@dataclass(frozen=True)
class BlobLayout:
    """What the blob of one group of views holds.

    Args:
        service: Name of the feature service.
        join_keys: Columns that find a row; the views of a group have them in common.
        views: The views, in order.
    """

    service: str
    join_keys: tuple[str, ...]
    views: tuple[ViewLayout, ...]

    @property
    def group(self) -> str:
        """Name of the group within the service."""
        return "+".join(self.join_keys)

    @cached_property
    def schema_id(self) -> bytes:
        """8 bytes that name service, keys and layout; another layout has other rows in the store."""
        fields = [(view.name, [(f.name, f.dtype, f.width) for f in view.fields]) for view in self.views]
        return blake2b(repr((self.service, self.join_keys, fields)).encode(), digest_size=8).digest()

    @cached_property
    def dtype(self) -> np.dtype[np.void]:
        """The packed numpy type of a row: ``id``, then ``v0``, ``v1``, … each with event, known, nulls, values."""
        views = [(f"v{i}", _view_dtype(view)) for i, view in enumerate(self.views)]
        return np.dtype([("id", "<u8"), *views])

    @cached_property
    def columns(self) -> tuple[tuple[str, ...], ...]:
        """The ``view__feature`` names of each view."""
        return tuple(tuple(f"{view.name}__{field.name}" for field in view.fields) for view in self.views)

    @cached_property
    def absent(self) -> bytes:
        """The blob of an entity that no view knows."""
        return self.empty(1).tobytes()

    def empty(self, num_rows: int) -> Rows:
        """Returns rows that no view knows."""
        rows = np.zeros(num_rows, self.dtype)
        rows["id"] = int.from_bytes(self.schema_id, "little")
        for i in range(len(self.views)):
            rows[f"v{i}"]["event"] = rows[f"v{i}"]["known"] = ABSENT
        return rows

    def position(self, view: str) -> int:
        """Returns the place of a view in the blob."""
        names = [known.name for known in self.views]
        if view not in names:
            raise InternalError(f"View '{view}' is not in the group '{self.group}' of '{self.service}'.")
        return names.index(view)


def _view_dtype(view: ViewLayout) -> np.dtype[np.void]:
    bitmap = ("nulls", "u1", ((len(view.fields) + 7) // 8,))
    values = [(f"f{i}", field.stored) for i, field in enumerate(view.fields)]
    return np.dtype([("event", "<i8"), ("known", "<i8"), bitmap, ("values", values)])
