"""Where landed files are: a local folder, or one of an object store whose new files are copied for a run."""

import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from fnmatch import translate
from pathlib import Path
from typing import Protocol

from mosaic_assets.tables.ledger import LandedFile
from mosaic_resources.errors import UserError
from mosaic_resources.objects.folder import ObjectFolder

__all__ = ["Landing", "LocalLanding", "ObjectLanding", "discover", "landing_of"]


class Landing(Protocol):
    """Finds files and gives them to a reader."""

    root: str

    def discover(self, pattern: str) -> dict[str, LandedFile]:
        """Returns the files that match ``pattern`` (relative, ``flights/*.csv``), by path."""
        ...

    def local(self, paths: Sequence[str]) -> AbstractContextManager[Path]:
        """Yields a local folder that holds ``paths``."""
        ...


class LocalLanding:
    """A folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self.root = str(folder)

    def discover(self, pattern: str) -> dict[str, LandedFile]:
        """See ``Landing``."""
        return discover(Path(self.root), pattern)

    @contextmanager
    def local(self, paths: Sequence[str]) -> Iterator[Path]:
        """See ``Landing``."""
        yield Path(self.root)


class ObjectLanding:
    """A folder of an object store.

    Args:
        folder: The store's folder.
        scratch: Local folder for the copies of a run.
    """

    def __init__(self, folder: ObjectFolder, scratch: Path) -> None:
        self.root, self._folder, self._scratch = folder.address, folder, scratch

    def discover(self, pattern: str) -> dict[str, LandedFile]:
        """See ``Landing``."""
        matches = re.compile(translate(pattern)).match
        found = [one for one in self._folder.list() if matches(one.path) and not _is_passed_over(one.path)]
        return {
            one.path: LandedFile(one.path, one.size_bytes, one.mark) for one in sorted(found, key=lambda one: one.path)
        }

    @contextmanager
    def local(self, paths: Sequence[str]) -> Iterator[Path]:
        """See ``Landing``."""
        self._scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="landed-", dir=self._scratch) as name:
            self._folder.copy(paths, Path(name))
            try:
                yield Path(name)
            except UserError as exc:  # It names the copy.
                raise UserError(exc.what, (exc.where or "").replace(name, self.root) or None, exc.do) from exc


def landing_of(root: str, pattern: str, options: Mapping[str, str], scratch: Path, where: str) -> tuple[Landing, str]:
    """Returns where a source's files are, and their pattern there.

    Args:
        root: The target's landing folder or address.
        pattern: As declared: below the landing folder, or an address of its own, ``s3://bucket/flights/*.csv``.
        options: Options of the store.
        scratch: Local folder for copies.
        where: Asset, for messages.
    """
    address = pattern if "://" in pattern else f"{root.rstrip('/')}/{pattern}"
    if "://" not in address:
        return LocalLanding(Path(root)), pattern
    if "://" not in pattern:
        return ObjectLanding(ObjectFolder(root, options, where), scratch), pattern
    scheme, _, rest = address.partition("://")
    parts = rest.split("/")
    fixed = next((place for place, part in enumerate(parts) if set("*?[") & set(part)), len(parts) - 1)
    folder = ObjectFolder(f"{scheme}://{'/'.join(parts[:fixed])}", options, where)
    return ObjectLanding(folder, scratch), "/".join(parts[fixed:])


def discover(landing: Path, pattern: str) -> dict[str, LandedFile]:
    """Returns the landed files that match ``pattern`` (relative, ``flights/*.csv``), by path.

    Hidden files, and files that a writer still holds under a name ending in ``.part``, are passed over.

    Raises:
        UserError: The landing folder does not exist.
    """
    if not landing.is_dir():
        raise UserError("The landing folder does not exist.", str(landing), "Make it, or set MOSAIC_LANDING.")
    found: dict[str, LandedFile] = {}
    matches, skip = re.compile(translate(pattern)).match, len(str(landing)) + 1
    for entry in _walk(landing):
        path = entry.path[skip:].replace(os.sep, "/")
        if matches(path):
            stat = entry.stat()
            found[path] = LandedFile(path, stat.st_size, stat.st_mtime_ns)
    return dict(sorted(found.items()))


def _is_passed_over(path: str) -> bool:
    return any(part.startswith(".") or part.endswith(".part") for part in path.split("/"))


def _walk(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if _is_passed_over(entry.name):
                continue
            if entry.is_dir():
                yield from _walk(Path(entry.path))
            elif entry.is_file():
                yield entry
