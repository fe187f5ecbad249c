"""Appending to the spool: one worker, one file at a time, every record whole or not there."""

import fcntl
import logging
import os
from pathlib import Path

from mosaic_resources.errors import DependencyError
from mosaic_resources.spool.frame import FILE_HEADER, SpoolCorruptError, frame
from mosaic_resources.spool.reader import SUFFIX, read_records

__all__ = ["SpoolWriteError", "SpoolWriter"]

SEGMENT_BYTES = 64 << 20
MAX_WORKERS = 256
log = logging.getLogger(__name__)


class SpoolWriteError(DependencyError):
    """The spool cannot take a record; nothing of it was kept.

    Args:
        path: Segment or folder.
        num_bytes: Bytes that were to be written.
        cause: The operating system's error.
    """

    def __init__(self, path: Path, num_bytes: int, cause: OSError) -> None:
        self.num_bytes, self.errno = num_bytes, cause.errno
        super().__init__(
            f"The inference log cannot take {num_bytes} bytes: {cause.strerror}.",
            str(path),
            "Free disk space or mend the permissions; the endpoint goes on by itself.",
        )


class SpoolWriter:
    """Appends records for one worker of a service.

    The first free worker number is taken with a file lock, which a killed process gives back. A torn tail that
    the last writer left is cut off; a damaged segment is left as it is and a new one begun.

    Args:
        root: The spool's folder.
        service: Name of the service.
        segment_bytes: Size after which a new segment begins.
        fdatasync: Whether each record is on the disk, not only with the kernel, before ``append`` returns.

    Raises:
        SpoolWriteError: The folder or the segment cannot be written.
    """

    def __init__(
        self, root: Path, service: str, *, segment_bytes: int = SEGMENT_BYTES, fdatasync: bool = False
    ) -> None:
        self._segment_bytes, self._fdatasync = segment_bytes, fdatasync
        self._file: int | None = None
        self._lock: int | None
        try:
            self.folder, self._lock = _claim(root / service)
        except OSError as exc:
            raise SpoolWriteError(root / service, 0, exc) from exc
        numbers = [int(file.stem) for file in self.folder.glob(f"*{SUFFIX}")]
        self._number, self._end = max(numbers, default=1), 0
        self._open()

    @property
    def path(self) -> Path:
        """The segment that the next record goes to, unless it is full."""
        return self.folder / f"{self._number:08d}{SUFFIX}"

    def append(self, payload: bytes) -> None:
        """Ensures that the record survives the death of this process.

        Raises:
            SpoolWriteError: It could not be written; no part of it stays.
        """
        if self._file is None or self._end >= self._segment_bytes:
            self._rotate()
        header = b"" if self._end else FILE_HEADER
        self._write(header + frame(payload))
        if self._fdatasync:
            self.sync()

    def sync(self) -> None:
        """Ensures that what was appended survives a power cut."""
        if self._file is not None:
            os.fdatasync(self._file)

    def close(self) -> None:
        """Syncs and gives the worker number back."""
        self.sync()
        for descriptor in (self._file, self._lock):
            if descriptor is not None:
                os.close(descriptor)
        self._file = self._lock = None

    def _open(self) -> None:
        try:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        except OSError as exc:
            raise SpoolWriteError(self.path, 0, exc) from exc
        self._file = file
        try:
            self._end = _repair(file, self.path)
        except SpoolCorruptError as exc:
            log.error("%s A new segment is begun.", exc)
            self._rotate()

    def _rotate(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
            self._number += 1
        self._open()

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        written = 0
        try:
            while written < len(data):  # A full disk may take a part first and fail then.
                written += os.write(self._file, data[written:])
        except OSError as exc:
            self._undo()
            raise SpoolWriteError(self.path, len(data), exc) from exc
        self._end += len(data)

    def _undo(self) -> None:
        assert self._file is not None
        try:
            os.ftruncate(self._file, self._end)
        except OSError:  # The torn tail stays, harmless to readers; the next record starts a new segment.
            os.close(self._file)
            self._file, self._number = None, self._number + 1


def _claim(service: Path) -> tuple[Path, int]:
    for number in range(MAX_WORKERS):
        folder = service / f"worker-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        return folder, lock
    raise OSError(11, f"all {MAX_WORKERS} worker numbers are taken", str(service))


def _repair(file: int, path: Path) -> int:
    """Cuts a torn tail off and returns the end of the last whole record."""
    num_bytes = os.fstat(file).st_size
    if num_bytes < len(FILE_HEADER):
        os.ftruncate(file, 0)
        return 0
    end = max((end for _, end in read_records(path)), default=len(FILE_HEADER))
    if end < num_bytes:
        log.warning("%s: %d bytes of a torn record are cut off.", path, num_bytes - end)
        os.ftruncate(file, end)
    return end
