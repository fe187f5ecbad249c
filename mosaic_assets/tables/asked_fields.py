"""What raw tables share whose rows are asked for instead of landed."""

from collections.abc import Mapping, Sequence

from pydantic import Field

from mosaic_assets.asset_fields import ExploredFields
from mosaic_assets.tables.cursor import CursorSource, load
from mosaic_assets.tables.evolution import Columns, Evolution, columns_of, kept_columns
from mosaic_assets.work import Made, Work
from mosaic_resources.errors import UserError

__all__ = ["AskedFields"]


class AskedFields(ExploredFields):
    """Columns, evolution and the cursor."""

    key: str = Field(description="Asset key and table name.", examples=["raw/orders"])
    columns: Mapping[str, str | Mapping[str, str]] = Field(
        {},
        description="Column → type; others are inferred, and have the mode of the evolution.",
        examples=[{"amount": "double"}],
    )
    cursor_column: str | None = Field(
        None,
        description="Column that grows (a whole number, date or time): only rows from its last value on are asked for, "
        "and appended. Left out, every run replaces the table.",
        examples=["updated_at"],
    )
    cursor_lag: float = Field(
        0,
        ge=0,
        description="How far behind the cursor rows are asked for again, for those that came late: units of a number, "
        "days of a date, seconds of a time.",
    )
    schema_evolution_mode: Evolution = Field(
        "add_new_columns",
        description="A column that the table has not: add_new_columns, rescue, fail_on_new_columns, none (ignored).",
    )
    rescued_data_column: str = Field("_rescued_data", description="Column for what does not fit.")
    deps: Sequence[str] = Field((), description="Assets that must be made before.", examples=[["landing/orders"]])

    def declared_columns(self, place: str) -> Columns:
        """Returns the declared columns.

        Raises:
            UserError: A type is not known, or the cursor's lag stands without a cursor.
        """
        if self.cursor_lag and self.cursor_column is None:
            raise UserError("'cursor_lag' needs 'cursor_column'.", place, "Name the column, or remove the lag.")
        return columns_of(self.columns, place)

    def brought(self, work: Work, source: CursorSource) -> Made:
        """Loads the rows and returns what was made."""
        report = load(work.seams.lake, self.key, source, now_utc=work.now_utc, commit=work.commit())
        schema = work.seams.lake.schema(self.key, report.version)
        names = kept_columns(schema, self.rescued_data_column)
        return Made(
            table=self.key,
            version=report.version,
            columns={name: [(dep, name) for dep in self.deps] for name in names} if self.deps else None,
            metadata={
                "new_rows": report.num_rows,
                "fetched_rows": report.num_fetched,
                "added_columns": list(report.added),
                **({"cursor": report.cursor} if report.cursor else {}),
            },
        )
