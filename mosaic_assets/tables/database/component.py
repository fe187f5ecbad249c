"""The Dagster face of a raw table that is read from a database."""

from collections.abc import Sequence
from typing import ClassVar

import dagster as dg
from pydantic import Field

from mosaic_assets.catalogue import where
from mosaic_assets.orchestration.station import station
from mosaic_assets.tables.asked_fields import AskedFields
from mosaic_assets.work import Made, Work, code_hash
from mosaic_resources.databases.contract import check_address, open_database, shown
from mosaic_resources.errors import UserError
from mosaic_resources.settings.references import resolved

__all__ = ["DatabaseTableComponent"]


class DatabaseTableComponent(AskedFields, dg.Component, dg.Resolvable):
    """A raw Delta table of a database's table or query; all rows each time, or those from a cursor on."""

    scaffolded: ClassVar[Sequence[str]] = ("table",)

    address: str = Field(
        description="postgresql://…, or an address of SQLAlchemy's; ${NAME} stands for an environment variable, and "
        "is the only way to give a password.",
        examples=["postgresql://reader:${SHOP_PASSWORD}@db.example:5432/shop"],
    )
    table: str | None = Field(None, description="Table to read, whole.", examples=["public.orders"])
    query: str | None = Field(
        None,
        description="Instead of a table: one query in the database's own SQL, without a semicolon.",
        examples=["select id, updated_at, amount from public.orders where amount > 0"],
    )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Returns the asset of the raw table."""
        check_address(self.address, where(context, "address"))
        self.check_query(where(context, "query" if self.query else "table"))
        self.declared_columns(where(context, "columns"))
        code = code_hash(
            "database", self.address, self.table, self.query, dict(self.columns), self.cursor_column, self.cursor_lag,
            self.schema_evolution_mode, self.rescued_data_column,
        )  # fmt: skip
        asset = station(
            self,
            key=self.key,
            station_name="tables",
            kinds=("delta", self.address.partition("://")[0].partition("+")[0] if "://" in self.address else "sql"),
            deps=self.deps,
            code=code,
            run=self.execute,
        )
        return dg.Definitions(assets=[asset])

    def check_query(self, place: str) -> None:
        """Ensures that one thing is read.

        Raises:
            UserError: Both or neither of ``table`` and ``query`` are given, or the query is none.
        """
        if (self.table is None) == (self.query is None):
            raise UserError("Exactly one of 'table' and 'query' is needed.", place)
        if self.query is not None and ";" in self.query.rstrip().rstrip(";"):
            raise UserError("The query holds a semicolon.", place, "Write one query.")

    def execute(self, work: Work) -> Made:
        """Asks the database and appends or replaces."""
        from mosaic_assets.lineage.names import database_uses
        from mosaic_assets.tables.database.load import database_source

        self.check_query(work.asset)
        database = open_database(self.address, work.asset)
        origin = shown(resolved(self.address, work.asset))
        query = (self.query or "").rstrip().rstrip(";") or f"select * from {database.quoted(self.table or '')}"
        source = database_source(
            database,
            query,
            origin=origin,
            columns=self.declared_columns(work.asset),
            mode=self.schema_evolution_mode,
            cursor=self.cursor_column,
            lag=self.cursor_lag,
            rescued=self.rescued_data_column,
            where=work.asset,
        )
        for use in database_uses(origin, query, self.table):
            work.lineage.reads(use)
        return self.brought(work, source)
