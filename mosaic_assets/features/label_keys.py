"""Join keys as codes: the labels' composite keys numbered once, any batch of events looked up in them."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.features.asof import NOTHING, Ints
from mosaic_resources.errors import UnknownNameError, UserError

__all__ = ["LabelKeys"]

# Up to so many possible pairs a lookup table (8 bytes each) is quicker than a binary search.
MAX_TABLE = 1 << 24


class LabelKeys:
    """The distinct keys of an entity table.

    Args:
        entity_df: Rows with the join keys.
        join_keys: Columns that find a row together.

    Raises:
        UnknownNameError: A join key is missing.
    """

    def __init__(self, entity_df: pa.Table, join_keys: Sequence[str]) -> None:
        self.join_keys = tuple(join_keys)
        self._parts: list[tuple[_Values, Ints | None]] = []
        code: Ints = np.zeros(0, np.int64)
        for number, name in enumerate(self.join_keys):
            if name not in entity_df.column_names:
                raise UnknownNameError("join key", name, entity_df.column_names, "entity_df")
            values = _Values(pa.array(entity_df[name].unique().drop_null()))
            part = values.positions(entity_df[name])
            known = None
            if number:  # Dense again after each further key, so that any number of keys fits an int64.
                code = _pair(code, part, len(values.values))
                known = np.unique(code[code >= 0])
                code = _dense(code, known)
            else:
                code = part
            self._parts.append((values, known))
        self.codes = code  # (labels,) int64; NOTHING where a part is NULL

    def look_up(self, rows: pa.Table, where: str) -> Ints:
        """Returns (rows,) int64: each row's code, ``NOTHING`` where a part is NULL or no label has the key.

        Args:
            rows: pa.Table with the same join keys.
            where: View for the message.

        Raises:
            UnknownNameError: A join key is missing.
            UserError: A key has another type than in the entity table.
        """
        code: Ints = np.zeros(0, np.int64)
        for name, (values, known) in zip(self.join_keys, self._parts, strict=True):
            if name not in rows.schema.names:
                raise UnknownNameError("join key", name, rows.schema.names, where)
            column = rows.column(name)
            if column.type != values.values.type:
                raise UserError(
                    f"Join key '{name}' is {values.values.type} in the entity table but {column.type} in the view.",
                    where,
                    "Cast one.",
                )
            part = values.positions(column)
            code = part if known is None else _dense(_pair(code, part, len(values.values)), known)
        return code


class _Values:
    """Distinct values of one key; whole numbers that lie close together are found by a table instead of by hashing.

    Args:
        values: (values,) without NULL.
    """

    def __init__(self, values: pa.Array) -> None:
        self.values = values
        self._lowest, self._table = 0, None
        if len(values) and pa.types.is_integer(values.type) and values.type != pa.uint64():
            whole = np.asarray(pc.cast(values, pa.int64()))
            width = int(whole.max()) - int(whole.min()) + 1
            if width <= MAX_TABLE:
                self._lowest = int(whole.min())
                self._table = np.full(width + 1, NOTHING)  # the last place is for what lies outside
                self._table[whole - self._lowest] = np.arange(len(whole))

    def positions(self, column: pa.Array | pa.ChunkedArray) -> Ints:
        """Returns (rows,) int64: where each value stands among the values; ``NOTHING`` for NULL and for others."""
        if self._table is None or column.null_count:
            found = pc.index_in(column, value_set=self.values, skip_nulls=True)
            return np.asarray(pc.fill_null(found, NOTHING), np.int64)
        whole = np.asarray(pc.cast(column, pa.int64()))
        outside = len(self._table) - 1
        # As unsigned numbers, what lies below the lowest value is large too.
        place = np.minimum((whole - self._lowest).view(np.uint64), np.uint64(outside)).view(np.int64)
        return self._table[place]


def _pair(code: Ints, part: Ints, size: int) -> Ints:
    joined = code * size + part
    joined[(code < 0) | (part < 0)] = NOTHING
    return joined


def _dense(code: Ints, known: Ints) -> Ints:
    """Returns (rows,) the position of each code among ``known`` (ascending), ``NOTHING`` where it is none of them."""
    if not len(known):
        return np.full(len(code), NOTHING)
    if known[-1] < MAX_TABLE:
        table: Ints = np.full(int(known[-1]) + 2, NOTHING)  # the last place is for what lies outside
        table[known] = np.arange(len(known))
        dense: Ints = table[np.where((code >= 0) & (code <= known[-1]), code, len(table) - 1)]
        return dense
    position = np.minimum(np.searchsorted(known, code), len(known) - 1)
    found: Ints = np.where(known[position] == code, position, NOTHING)
    return found
