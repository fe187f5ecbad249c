"""Parquet files: values in the types that the file gives them; nested ones as JSON text."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.tables.sources.arrow_columns import kind_of, plain
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
    columns = {name: plain(table[name]) for name in table.column_names}
    columns |= {name: plain(_at(table, steps)) for name, steps in options.paths.items()}
    return Parsed(
        pa.repeat(path, table.num_rows), pa.array(range(1, table.num_rows + 1), pa.int64()), columns,
        lambda name: kind_of(columns[name]),
    )  # fmt: skip


def _at(table: pa.Table, steps: Sequence[str]) -> pa.ChunkedArray:
    value = table[steps[0]] if steps[0] in table.column_names else pa.nulls(table.num_rows)
    for step in steps[1:]:
        if not pa.types.is_struct(value.type) or value.type.get_field_index(step) < 0:
            return pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
        value = pc.struct_field(value, step)
    return value
