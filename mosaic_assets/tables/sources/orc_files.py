"""ORC files: values in the types that the file gives them; nested ones as JSON text."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from mosaic_assets.tables.sources.arrow_columns import parsed_table
from mosaic_assets.tables.sources.parsed import Parsed, ReadOptions
from mosaic_resources.errors import UserError

__all__ = ["parse_orc"]


def parse_orc(landing: Path, paths: Sequence[str], options: ReadOptions) -> list[Parsed]:
    """Returns the rows of each file. See ``Reader``."""
    return [parsed_table(_table(landing / path), path, options.paths) for path in paths]


def _table(file: Path) -> pa.Table:
    from pyarrow import orc

    try:
        return orc.ORCFile(str(file)).read()
    except (FileNotFoundError, PermissionError, IsADirectoryError) as exc:
        raise UserError(f"The file cannot be read: {exc.strerror or exc}.", str(file)) from exc
    except OSError as exc:  # pyarrow says of a file that is no ORC that it cannot be read.
        raise UserError(f"The file is no readable ORC: {exc}", str(file)) from exc
    except pa.ArrowException as exc:
        raise UserError(f"The file is no readable ORC: {exc}", str(file)) from exc
