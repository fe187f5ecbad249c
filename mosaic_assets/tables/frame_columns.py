"""Where the columns of a PySpark table come from: the plan first, what is declared for the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mosaic_assets.tables.query import Columns
from mosaic_resources.delta.lake import Lake
from mosaic_resources.errors import UnknownNameError, UserError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["FrameColumns", "declared_columns", "frame_columns"]


@dataclass(frozen=True)
class FrameColumns:
    """Column lineage of a frame.

    Args:
        known: Output column → (table, column) pairs.
        unknown: Output columns that cannot be told and are not declared.
        reason: Why.
    """

    known: Columns
    unknown: tuple[str, ...] = ()
    reason: str | None = None

    @property
    def note(self) -> str | None:
        """What people are told of the unknown columns; None where there are none."""
        return f"{', '.join(self.unknown)}: {self.reason} Declare them with column_lineage." if self.unknown else None


def declared_columns(declared: Mapping[str, Sequence[str]], inputs: Sequence[str], where: str) -> Columns:
    """Returns output column → (table, column) pairs of a ``column_lineage`` block.

    Args:
        declared: Output column → columns of inputs, ``tables/flights.dep_delay``.
        inputs: Tables that the function is given.
        where: ``file:line`` for the error.

    Raises:
        UserError: An entry has no table before its column.
        UnknownNameError: Its table is no input.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for column, sources in declared.items():
        for source in sources:
            table = source.rpartition(".")[0]
            if not table:
                raise UserError(f"'{source}' names no column of a table.", where, "Write tables/flights.dep_delay.")
            if table not in inputs:
                raise UnknownNameError("input", table, inputs, where)
        found[column] = [(one.rpartition(".")[0], one.rpartition(".")[2]) for one in sources]
    return found


def frame_columns(
    frame: "DataFrame", lake: Lake, versions: Mapping[str, int], declared: Columns, where: str
) -> FrameColumns:
    """Returns where the columns of a frame come from; what is declared fills what the plan does not tell.

    Args:
        frame: What the function returned.
        lake: Where its inputs are.
        versions: Table → version that it was given.
        declared: What ``column_lineage`` says.
        where: Asset, for the error.

    Raises:
        UnknownNameError: A declared column is none of the result's, or none of its table's.
        UserError: The plan says otherwise of a declared column.
    """
    from mosaic_assets.lineage.pyspark_columns import frame_lineage

    schemas = {table: lake.schema(table, version).names for table, version in versions.items()}
    told = frame_lineage(frame, {lake.path(table): (table, names) for table, names in schemas.items()})
    for column, sources in declared.items():
        if column not in (*told.known, *told.unknown):
            raise UnknownNameError("column", column, [*told.known, *told.unknown], where)
        for table, name in sources:
            if name not in schemas[table]:
                raise UnknownNameError("column", name, schemas[table], f"{where}, column_lineage of '{column}'")
        if column in told.known and set(told.known[column]) != set(sources):
            plan = ", ".join(f"{table}.{name}" for table, name in told.known[column]) or "nothing"
            raise UserError(
                f"column_lineage of '{column}' is declared, but its plan says {plan}.", where, "Take the line away."
            )
    unknown = tuple(column for column in told.unknown if column not in declared)
    return FrameColumns({**told.known, **declared}, unknown, told.reason)
