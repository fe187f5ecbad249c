"""What a reader makes of files before the table's schema is laid over it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pyarrow as pa

__all__ = ["Parsed", "ReadOptions", "Reader"]


@dataclass(frozen=True)
class ReadOptions:
    """What of a declaration a reader needs.

    Args:
        null_values: Texts that mean NULL, in formats that have no NULL of their own.
        paths: Column → steps to a value within nested objects, ``("user", "id")``.
        contents: Whether the bytes of whole files are kept.
    """

    null_values: tuple[str, ...] = ("", "NA")
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    contents: bool = False


@dataclass(frozen=True)
class Parsed:
    """Rows of one or more files, each value in the type that its file gives it.

    Args:
        files: ``(rows,) string``: the path of each row's file, relative to the landing folder.
        numbers: ``(rows,) int64``: the place of each row in its file, from 1.
        columns: Name → ``(rows,)`` values, in the order in which the files name them.
        kind_of: Returns the SQL type that the values of a column suggest; None where all are NULL.
        rescued: Row → name → text of what belongs to no column; ``_raw`` is the text of a malformed row.
        names_columns: Whether the format names all columns once, so that an absent declared one is an error.
    """

    files: pa.Array
    numbers: pa.Array
    columns: Mapping[str, pa.Array | pa.ChunkedArray]
    kind_of: Callable[[str], str | None]
    rescued: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    names_columns: bool = True


class Reader(Protocol):
    """Reads files of one format; a reader is a function in a file of its own and a line in ``READERS``.

    Example:
        A reader of files with one value a line::

            def parse_lines(landing, paths, options):
                rows = [(path, number, line) for path in paths
                        for number, line in enumerate((landing / path).read_text().splitlines(), 1)]
                files, numbers, lines = zip(*rows)
                return [Parsed(pa.array(files), pa.array(numbers), {"line": pa.array(lines)}, lambda _: "string")]

        and its YAML: ``format: lines``.
    """

    def __call__(self, landing: Path, paths: Sequence[str], options: ReadOptions) -> list[Parsed]:
        """Returns the rows of ``paths``, which are few enough to hold in memory.

        Raises:
            UserError: A file is unreadable; the message names it.
        """
        ...
