"""Any database that SQLAlchemy has a driver for; each value passes through Python."""

from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from mosaic_resources.databases.contract import CursorValue, Selection
from mosaic_resources.databases.failures import connecting_failed, query_failed
from mosaic_resources.errors import DependencyError, UserError

__all__ = ["SqlAlchemyDatabase"]

ROWS_PER_BATCH = 50_000


class SqlAlchemyDatabase:
    """A ``Database`` at an address of SQLAlchemy's; the driver that it names must be installed.

    Args:
        address: ``dialect+driver://…`` with its secrets.
        declared: The same as declared, for messages.
        where: Asset, for messages.

    Raises:
        UserError: There is no such dialect, or the address is malformed.
        DependencyError: The driver is not installed.
    """

    def __init__(self, address: str, declared: str, where: str) -> None:
        import sqlalchemy

        self._sql: Any = sqlalchemy
        self._declared, self._where = declared, where
        try:
            self._engine = sqlalchemy.create_engine(address, poolclass=sqlalchemy.NullPool)
        except ModuleNotFoundError as exc:
            raise DependencyError(f"The driver '{exc.name}' is not installed.", where, "Install it.") from exc
        except (sqlalchemy.exc.ArgumentError, ValueError):
            told = f"It is declared as '{declared}'."
            raise UserError("The address is none that SQLAlchemy knows.", where, told) from None

    def __repr__(self) -> str:
        return f"SqlAlchemyDatabase('{self._declared}')"

    def quoted(self, name: str) -> str:
        """See ``Database``."""
        prepare = self._engine.dialect.identifier_preparer
        return ".".join(prepare.quote_identifier(part) for part in name.split("."))

    def read(self, selection: Selection) -> pa.Table:
        """See ``Database``."""
        errors = self._sql.exc
        try:
            connection = self._engine.connect().execution_options(stream_results=True)
        except errors.DBAPIError as exc:
            raise connecting_failed(str(exc.orig), self._declared, self._where) from None
        with connection:
            try:
                result = connection.execute(*self._statement(connection, selection))
                names = list(result.keys())
                batches = [list(zip(*part, strict=True)) for part in result.partitions(ROWS_PER_BATCH)]
            except errors.SQLAlchemyError as exc:
                raise query_failed(str(getattr(exc, "orig", exc)), self._declared, self._where) from None
        columns = [[value for batch in batches for value in batch[place]] for place in range(len(names))]
        return pa.table([_array(values) for values in columns], names=names)

    def _statement(self, connection: Any, selection: Selection) -> tuple[Any, dict[str, Any]]:
        text = self._sql.text
        # A colon within the query is no parameter.
        source = "(\n" + selection.query.replace(":", "\\:") + "\n) source"
        if selection.cursor is None or selection.start is None:
            return text(f"select * from {source}"), {}
        column = f"source.{self.quoted(selection.cursor)}"
        probe = self._sql.select(text(column)).select_from(text(source)).where(text(f"{column} is not null"))
        start = _comparable(selection.start, connection.execute(probe.limit(1)).scalar())
        return text(f"select * from {source} where {column} >= :start or {column} is null"), {"start": start}


def _comparable(start: CursorValue, value: object) -> CursorValue:
    """Returns the start in the form of the cursor's own values: without a zone where they have none."""
    if isinstance(start, datetime):
        utc = start.astimezone(UTC)
        return utc if isinstance(value, datetime) and value.tzinfo else utc.replace(tzinfo=None)
    return start


def _array(values: list[Any]) -> pa.Array:
    if all(value is None for value in values):
        return pa.nulls(len(values), pa.string())
    try:
        return pa.array([value if _is_plain(value) else str(value) for value in values])
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # A column that holds several types, as SQLite's may.
        return pa.array([None if value is None else str(value) for value in values], pa.string())


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str | bytes | date | datetime | list | dict)
