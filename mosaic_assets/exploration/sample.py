"""Some rows of a table, the same ones for the same rows, whatever their order; memory for two batches at most."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mosaic_assets.key_hash import xxhash64

__all__ = ["sample_rows"]

Ints = npt.NDArray[np.int64]


def sample_rows(batches: Iterable[pa.RecordBatch], num_rows: int) -> tuple[pa.Table | None, int]:
    """Returns the rows whose content hashes lowest, in that order, and how many rows there were; None without a batch.

    Args:
        batches: The table's rows, in any order.
        num_rows: Most rows to return.
    """
    kept: pa.Table | None = None
    hashes: Ints = np.zeros(0, np.int64)
    total = 0
    for batch in batches:
        rows = pa.Table.from_batches([batch])
        total += rows.num_rows
        own = _content(rows)
        if kept is not None:
            rows, own = pa.concat_tables([kept, rows]), np.concatenate([hashes, own])
        lowest = np.argsort(own, kind="stable")[:num_rows]
        kept, hashes = rows.take(pa.array(lowest)).combine_chunks(), own[lowest]
    return kept, total


def _content(rows: pa.Table) -> Ints:
    """Returns (rows,) int64 of all columns that hash; nested ones, decimals and bytes do not decide."""
    columns = [rows[name] for name in sorted(rows.column_names) if _hashes(rows.schema.field(name).type)]
    return xxhash64(columns) if columns else np.zeros(rows.num_rows, np.int64)


def _hashes(kind: pa.DataType) -> bool:
    of = pa.types
    return bool(
        of.is_string(kind) or of.is_large_string(kind) or of.is_boolean(kind) or of.is_timestamp(kind)
        or of.is_date32(kind) or of.is_signed_integer(kind) or of.is_float32(kind) or of.is_float64(kind)
    )  # fmt: skip
