"""Request ids: unique, ordered by time (UUID version 7)."""

import os
import time
import uuid

__all__ = ["new_request_id"]


def new_request_id() -> str:
    """Returns a UUID of version 7.

    Source: RFC 9562, section 5.7: 48 bits of Unix milliseconds, version, 74 random bits.
    """
    milliseconds = time.time_ns() // 1_000_000
    noise = int.from_bytes(os.urandom(10), "big")
    value = (
        (milliseconds & 0xFFFFFFFFFFFF) << 80
        | 0x7 << 76
        | (noise >> 68 & 0xFFF) << 64
        | 0b10 << 62
        | (noise & (1 << 62) - 1)
    )
    return str(uuid.UUID(int=value))
