"""Join keys as codes: the labels' composite keys numbered once, any batch of events looked up in them."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.features.asof import NOTHING, Ints
from mosaic_resources.errors import UnknownNameError, UserError

__all__ = ["LabelKeys"]

Rows = pa.Table | pa.RecordBatch
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
        self._parts: list[tuple[pa.Array, Ints | None]] = []
        code = np.zeros(entity_df.num_rows, np.int64)
        for number, name in enumerate(self.join_keys):
            if name not in entity_df.column_names:
                raise UnknownNameError("join key", name, entity_df.column_names, "entity_df")
            values = pa.array(entity_df[name].unique().drop_null())
            code = _append(code, _index(entity_df[name], values), len(values))
            known = None
            if number:  # Dense again after each further key, so that any number of keys fits an int64.
                known = np.unique(code[code >= 0])
                code = _dense(code, known)
            self._parts.append((values, known))
        self.codes = code  # (labels,) int64; NOTHING where a part is NULL

    def look_up(self, rows: Rows, where: str) -> Ints:
        """Returns (rows,) int64: each row's code, ``NOTHING`` where a part is NULL or no label has the key.

        Args:
            rows: Rows with the same join keys.
            where: View for the message.

        Raises:
            UnknownNameError: A join key is missing.
            UserError: A key has another type than in the entity table.
        """
        code = np.zeros(rows.num_rows, np.int64)
        for name, (values, known) in zip(self.join_keys, self._parts, strict=True):
            if name not in rows.schema.names:
                raise UnknownNameError("join key", name, rows.schema.names, where)
            column = rows.column(name)
            if column.type != values.type:
                raise UserError(
                    f"Join key '{name}' is {values.type} in the entity table but {column.type} in the view.",
                    where,
                    "Cast one.",
                )
            code = _append(code, _index(column, values), len(values))
            if known is not None:
                code = _dense(code, known)
        return code


def _append(code: Ints, part: Ints, size: int) -> Ints:
    joined = code * size + part
    joined[(code < 0) | (part < 0)] = NOTHING
    return joined


def _index(column: pa.Array | pa.ChunkedArray, values: pa.Array) -> Ints:
    return np.asarray(pc.fill_null(pc.index_in(column, value_set=values, skip_nulls=True), NOTHING), np.int64)


def _dense(code: Ints, known: Ints) -> Ints:
    """Returns (rows,) the position of each code among ``known`` (ascending), ``NOTHING`` where it is none of them."""
    if not len(known):
        return np.full(len(code), NOTHING)
    if known[-1] < MAX_TABLE:
        table = np.full(int(known[-1]) + 2, NOTHING)  # the last place is for what lies outside
        table[known] = np.arange(len(known))
        return table[np.where((code >= 0) & (code <= known[-1]), code, len(table) - 1)]
    position = np.minimum(np.searchsorted(known, code), len(known) - 1)
    return np.where(known[position] == code, position, NOTHING)
