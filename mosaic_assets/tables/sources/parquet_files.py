"""Parquet files: values in the types that the file gives them; nested ones as JSON text."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from mosaic_assets.tables.sources.arrow_columns import parsed_table
from mosaic_assets.tables.sources.parsed import Parsed, ReadOptions
from mosaic_resources.errors import UserError

__all__ = ["parse_parquet"]


def parse_parquet(landing: Path, paths: Sequence[str], options: ReadOptions) -> list[Parsed]:
    """Returns the rows of each file. See ``Reader``."""
    return [_parse_one(landing, path, options) for path in paths]


def _parse_one(landing: Path, path: str, options: ReadOptions) -> Parsed:
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(landing / path).read()
    except OSError as exc:
        raise UserError(f"The file cannot be read: {exc.strerror or exc}.", str(landing / path)) from exc
    except pa.ArrowInvalid as exc:
        raise UserError(f"The file is no readable Parquet: {exc}", str(landing / path)) from exc
    return parsed_table(table, path, options.paths)
