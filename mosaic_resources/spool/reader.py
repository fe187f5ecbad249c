"""Reading the spool: which segments there are, and the complete records of one from an offset on."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mosaic_resources.errors import InternalError
from mosaic_resources.spool.frame import FILE_HEADER, SpoolCorruptError, complete_frames

__all__ = ["Segment", "read_records", "segments"]

SUFFIX = ".seg"


@dataclass(frozen=True)
class Segment:
    """One file of the spool.

    Args:
        service: Service that wrote it.
        worker: Writer within the service.
        number: Number of the file, growing.
        path: The file.
        is_last: Whether its writer may still append to it.
    """

    service: str
    worker: str
    number: int
    path: Path
    is_last: bool

    @property
    def app(self) -> str:
        """The Delta ``txn`` application id of the stream."""
        return f"spool/{self.service}/{self.worker}/{self.number}"


def segments(root: Path, service: str) -> list[Segment]:
    """Returns a service's segments by worker and number; none where nothing was ever logged.

    Args:
        root: The spool's folder.
        service: Name of the service.
    """
    found: list[Segment] = []
    for folder in sorted(path for path in (root / service).glob("*") if path.is_dir()):
        files = sorted(folder.glob(f"*{SUFFIX}"), key=lambda file: int(file.stem))
        found += [Segment(service, folder.name, int(file.stem), file, file == files[-1]) for file in files]
    return found


def read_records(path: Path, offset: int = 0) -> Iterator[tuple[bytes, int]]:
    """Yields the payload and end offset of each complete record after an offset.

    A record that is still being written, or was torn by a killed writer, is not yielded.

    Args:
        path: A segment.
        offset: End offset of the last record that was read; 0 at first.

    Raises:
        SpoolCorruptError: The file is no segment, or a frame is damaged.
        InternalError: The offset lies beyond the file: it belongs to another one.
    """
    with path.open("rb") as file:
        header = file.read(len(FILE_HEADER))
        if header != FILE_HEADER[: len(header)]:
            raise SpoolCorruptError(str(path), 0, "it does not begin as a spool segment")
        begin = max(offset, len(FILE_HEADER))
        num_bytes = file.seek(0, 2)
        if offset > num_bytes:
            raise InternalError(f"Offset {offset} lies beyond the {num_bytes} bytes of the segment.", str(path))
        file.seek(begin)
        data = file.read()
    yield from complete_frames(data, 0, str(path), begin)
