"""The bytes of the spool: a file header, then frames that say their length and prove their content.

    file:  "MSPOOL01"
    frame: payload length u32 | CRC-32 of the payload u32 | CRC-32 of the eight bytes before u32 | payload

The header's own checksum tells a flipped length from a frame that is not yet complete.
"""

import struct
import zlib
from collections.abc import Iterator

from mosaic_resources.errors import DependencyError

__all__ = ["FILE_HEADER", "MAX_PAYLOAD_BYTES", "SpoolCorruptError", "complete_frames", "frame"]

FILE_HEADER = b"MSPOOL01"
MAX_PAYLOAD_BYTES = 64 << 20
LENGTHS = struct.Struct("<II")
CHECK = struct.Struct("<I")
HEADER_BYTES = LENGTHS.size + CHECK.size


class SpoolCorruptError(DependencyError):
    """A segment of the spool holds bytes that no writer wrote.

    Args:
        where: File.
        offset: Byte offset of the frame.
        reason: What does not hold.
    """

    def __init__(self, where: str, offset: int, reason: str) -> None:
        self.offset = offset
        super().__init__(
            f"The spool is damaged at byte {offset}: {reason}.",
            where,
            "The disk changed it. Frames before that offset are good; move the file away to go on.",
        )


def frame(payload: bytes) -> bytes:
    """Returns the frame of a payload.

    Raises:
        ValueError: The payload is longer than ``MAX_PAYLOAD_BYTES``.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a spool record of {len(payload)} bytes exceeds {MAX_PAYLOAD_BYTES}")
    lengths = LENGTHS.pack(len(payload), zlib.crc32(payload))
    return lengths + CHECK.pack(zlib.crc32(lengths)) + payload


def complete_frames(data: bytes, start: int, where: str, base: int = 0) -> Iterator[tuple[bytes, int]]:
    """Yields each complete frame's payload and end offset; a torn tail ends the iteration.

    A tail of zeros counts as torn: a power cut may leave the file longer than what was written.

    Args:
        data: Bytes of the file from offset ``base`` on.
        start: Where in ``data`` the first frame begins.
        where: File name for the message.
        base: Offset in the file of ``data[0]``; the yielded offsets are of the file.

    Raises:
        SpoolCorruptError: A frame is damaged.
    """
    view, at = memoryview(data), start
    while at + HEADER_BYTES <= len(view):
        num_bytes, crc = LENGTHS.unpack_from(view, at)
        (check,) = CHECK.unpack_from(view, at + LENGTHS.size)
        if check != zlib.crc32(view[at : at + LENGTHS.size]):
            if not any(view[at:]):
                return
            raise SpoolCorruptError(where, base + at, "the frame's header does not match its checksum")
        end = at + HEADER_BYTES + num_bytes
        if end > len(view):
            return
        payload = bytes(view[at + HEADER_BYTES : end])
        if zlib.crc32(payload) != crc:
            raise SpoolCorruptError(where, base + at, "the record does not match its checksum")
        yield payload, base + end
        at = end
