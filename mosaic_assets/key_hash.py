"""Spark's ``xxhash64`` over Arrow columns: the same 64 bits on every engine, without one."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mosaic_resources.errors import UnknownNameError, UserError

__all__ = ["BUCKETS", "buckets", "key_hash", "xxhash64"]

BUCKETS = 1_000_000
SPARK_SEED = 42
P1, P2, P3, P4, P5 = (
    np.uint64(prime)
    for prime in (
        0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5,
    )
)  # fmt: skip

Words = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]


def key_hash(rows: pa.Table, names: Sequence[str], salt: str) -> Ints:
    """Returns (rows,) int64, what Spark's ``xxhash64(<names>, '<salt>')`` returns.

    Args:
        rows: Texts, integers, booleans, dates, timestamps, floats; NULL leaves the hash as it is.
        names: Columns, in order.
        salt: Makes independent draws of the same keys.

    Raises:
        UnknownNameError: A column is missing.
        UserError: A column has a type that is no key.
    """
    for name in names:
        if name not in rows.column_names:
            raise UnknownNameError("column", name, rows.column_names, "the keys of a split")
    salted = pa.chunked_array([pa.array([salt]).take(pa.array(np.zeros(rows.num_rows, np.int64)))])
    return xxhash64([*(rows[name] for name in names), salted], names=[*names, "salt"])


def buckets(hashes: Ints, num_buckets: int = BUCKETS) -> Ints:
    """Returns (rows,) int64 in [0, num_buckets): Spark's ``pmod(hash, num_buckets)``."""
    return np.mod(hashes, num_buckets)


def xxhash64(columns: Sequence[pa.ChunkedArray], seed: int = SPARK_SEED, names: Sequence[str] = ()) -> Ints:
    """Returns (rows,) int64: each column's hash is the seed of the next one, as Spark chains them.

    Source:
        XXH64 of the xxHash specification, 0.1.1. Spark takes texts as their UTF-8 bytes, numbers of at most 32 bits,
        booleans and dates as 4 bytes, all others as 8, and starts with seed 42.

    Example:
        >>> import pyarrow as pa
        >>> xxhash64([pa.chunked_array([["Spark"]]), pa.chunked_array([[1]])]).dtype
        dtype('int64')
    """
    hashes: Words = np.full(len(columns[0]), seed, np.uint64)
    for number, column in enumerate(columns):
        whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        valid = np.asarray(whole.is_valid())
        hashes = np.where(valid, _hashed(whole, hashes, names[number] if names else f"#{number}"), hashes)
    return hashes.view(np.int64)


def _hashed(column: pa.Array, seeds: Words, name: str) -> Words:
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _bytes(pc.cast(pc.fill_null(column, ""), pa.large_binary()), seeds)
    if pa.types.is_boolean(kind) or (pa.types.is_integer(kind) and kind.bit_width <= 32):
        return _four(np.asarray(pc.fill_null(pc.cast(column, pa.int64()), 0)).astype(np.int32), seeds)
    if pa.types.is_date32(kind):
        return _four(np.asarray(pc.fill_null(pc.cast(column, pa.int32()), 0)), seeds)
    if pa.types.is_int64(kind):
        return _eight(np.asarray(pc.fill_null(column, 0)), seeds)
    if pa.types.is_timestamp(kind):
        micros = pc.cast(pc.cast(column, pa.timestamp("us", tz=kind.tz)), pa.int64())
        return _eight(np.asarray(pc.fill_null(micros, 0)), seeds)
    if pa.types.is_float64(kind) or pa.types.is_float32(kind):
        values: npt.NDArray[Any] = np.asarray(pc.fill_null(column, 0.0)) + 0.0  # -0.0 is 0.0, and one NaN is all NaN
        values = np.where(np.isnan(values), np.array(np.nan, values.dtype), values)
        return _eight(values.view(np.int64), seeds) if values.itemsize == 8 else _four(values.view(np.int32), seeds)
    raise UserError(f"Column '{name}' is {kind}; a key is text, number, boolean, date or time.", do="Cast it.")


def _rotated(words: Words, bits: int) -> Words:
    return (words << np.uint64(bits)) | (words >> np.uint64(64 - bits))


def _mixed(hashes: Words) -> Words:
    hashes = (hashes ^ (hashes >> np.uint64(33))) * P2
    hashes = (hashes ^ (hashes >> np.uint64(29))) * P3
    return hashes ^ (hashes >> np.uint64(32))


def _with_eight(hashes: Words, words: Words) -> Words:
    return _rotated(hashes ^ (_rotated(words * P2, 31) * P1), 27) * P1 + P4


def _with_four(hashes: Words, words: Words) -> Words:
    return _rotated(hashes ^ (words * P1), 23) * P2 + P3


def _eight(values: Ints, seeds: Words) -> Words:
    return _mixed(_with_eight(seeds + P5 + np.uint64(8), values.view(np.uint64)))


def _four(values: npt.NDArray[np.int32], seeds: Words) -> Words:
    return _mixed(_with_four(seeds + P5 + np.uint64(4), values.view(np.uint32).astype(np.uint64)))


def _bytes(column: pa.LargeBinaryArray, seeds: Words) -> Words:
    _, offset_buffer, data_buffer = column.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[column.offset : column.offset + len(column) + 1]
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer else np.zeros(0, np.uint8)
    lengths = np.diff(offsets)
    hashes = np.empty(len(column), np.uint64)
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        texts = data[offsets[rows][:, None] + np.arange(length)]  # (rows of that length, length)
        hashes[rows] = _of_length(texts, seeds[rows])
    return hashes


def _of_length(texts: npt.NDArray[np.uint8], seeds: Words) -> Words:
    length = texts.shape[1]

    def words(first: int, kind: str) -> Words:
        size = np.dtype(kind).itemsize
        return np.ascontiguousarray(texts[:, first : first + size]).view(kind)[:, 0].astype(np.uint64)

    hashes, at = seeds + P5, 0
    if length >= 32:
        hashes, at = _stripes(seeds, lambda first: words(first, "<u8"), length)
    hashes = hashes + np.uint64(length)
    while at + 8 <= length:
        hashes, at = _with_eight(hashes, words(at, "<u8")), at + 8
    if at + 4 <= length:
        hashes, at = _with_four(hashes, words(at, "<u4")), at + 4
    for position in range(at, length):
        hashes = _rotated(hashes ^ (texts[:, position].astype(np.uint64) * P5), 11) * P1
    return _mixed(hashes)


def _stripes(seeds: Words, word: Callable[[int], Words], length: int) -> tuple[Words, int]:
    lanes = [seeds + P1 + P2, seeds + P2, seeds.copy(), seeds - P1]
    at = 0
    while at + 32 <= length:
        lanes = [_rotated(lane + word(at + 8 * i) * P2, 31) * P1 for i, lane in enumerate(lanes)]
        at += 32
    hashes = _rotated(lanes[0], 1) + _rotated(lanes[1], 7) + _rotated(lanes[2], 12) + _rotated(lanes[3], 18)
    for lane in lanes:
        hashes = (hashes ^ (_rotated(lane * P2, 31) * P1)) * P1 + P4
    return hashes, at
