"""The bytes that find an online row: join-key values, unambiguous and at most 256 bytes."""

import struct
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from mosaic_resources.errors import UserError

__all__ = ["encode_key", "encode_keys"]

# LMDB's limit is 511 bytes; 8 go to the schema id. Longer keys are replaced by their hash.
MAX_KEY_BYTES = 256
HASHED = b"\xff"


def encode_key(values: Sequence[str | int | None]) -> bytes | None:
    """Returns the key of one entity; None when a value is NULL, for NULL finds nothing.

    Args:
        values: Join-key values, in the order of the join keys.

    Raises:
        UserError: A value is neither text nor a whole number of 64 bits.

    Example:
        >>> len(encode_key(["JFK", 7])), encode_key(["JFK", None])
        (15, None)
    """
    parts = []
    for value in values:
        if value is None:
            return None
        parts.append(_text(value) if isinstance(value, str) else _whole(value))
    key = b"".join(parts)
    return key if len(key) <= MAX_KEY_BYTES else HASHED + blake2b(key, digest_size=32).digest()


def encode_keys(columns: Sequence[npt.NDArray[Any] | Sequence[Any]]) -> list[bytes | None]:
    """Returns the keys of many entities.

    Args:
        columns: One array of (rows,) values for each join key: object (str or None), or int64.
    """
    plain = [column.tolist() if isinstance(column, np.ndarray) else column for column in columns]
    return [encode_key(values) for values in zip(*plain, strict=True)]


def _text(value: str) -> bytes:
    data = value.encode()
    # A length of 65535 or more only occurs in keys that are hashed, where it need not be read back.
    return b"s" + min(len(data), 65535).to_bytes(2, "little") + data


def _whole(value: object) -> bytes:
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
        raise UserError(f"'{value}' is no join key.", do="A join key is text or a whole number of 64 bits.")
    return b"i" + struct.pack("<q", value)
