"""Files of any kind, one row each: images, PDFs, texts; told apart by their hash."""

import hashlib
import mimetypes
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from mosaic_assets.tables.sources.parsed import Parsed, ReadOptions
from mosaic_assets.value_types import TABLE_TYPES
from mosaic_resources.errors import UserError

__all__ = ["FILE_HASH", "parse_files"]

FILE_HASH = "sha256"
KINDS = {
    "path": "string", FILE_HASH: "string", "size_bytes": "bigint", "mime_type": "string", "modified_at": "timestamp",
    "content": "binary",
}  # fmt: skip
UNKNOWN = "application/octet-stream"
BLOCK_BYTES = 1 << 20


def parse_files(landing: Path, paths: Sequence[str], options: ReadOptions) -> list[Parsed]:
    """Returns a row for each file: ``path``, ``sha256``, ``size_bytes``, ``mime_type`` (by the name), ``modified_at``.

    With ``options.contents`` its bytes are in ``content``. See ``Reader``.
    """
    rows = [_row(landing / path, path, options.contents) for path in paths]
    columns = {
        name: pa.array([row[place] for row in rows], TABLE_TYPES[kind])
        for place, (name, kind) in enumerate(KINDS.items())
        if name != "content" or options.contents
    }
    files = pa.array(list(paths), pa.string())
    return [Parsed(files, pa.repeat(pa.scalar(1, pa.int64()), len(paths)), columns, KINDS.__getitem__)]


def _row(file: Path, path: str, contents: bool) -> tuple[object, ...]:
    digest, kept = hashlib.sha256(), []
    try:
        with file.open("rb") as stream:
            while block := stream.read(BLOCK_BYTES):
                digest.update(block)
                if contents:
                    kept.append(block)
            size = stream.tell()
        modified = datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except OSError as exc:
        raise UserError(f"The file cannot be read: {exc.strerror}.", str(file)) from exc
    kind = mimetypes.guess_type(path)[0] or UNKNOWN
    return path, digest.hexdigest(), size, kind, modified, b"".join(kept)
