"""PostgreSQL through ADBC: rows come as Arrow, without a Python object for each value."""

from contextlib import closing
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pyarrow as pa
import pyarrow.compute as pc

from mosaic_resources.databases.contract import CursorValue, Selection
from mosaic_resources.databases.failures import connecting_failed, query_failed
from mosaic_resources.errors import UserError, missing_extra

__all__ = ["AdbcPostgres"]

CONNECT_SECONDS = 10
# PostgreSQL types whose values the driver gives as they are. Others it gives as bytes of its own, or in cents:
# the server makes them text, and arrays JSON.
AS_THEY_ARE = {
    "int2", "int4", "int8", "float4", "float8", "bool", "text", "varchar", "bpchar", "name", "date", "timestamp",
    "timestamptz", "bytea", "json", "jsonb", "uuid",
}  # fmt: skip
EARLIEST, LATEST = date(1, 1, 1), date(9999, 12, 31)


class AdbcPostgres:
    """A ``Database`` that speaks PostgreSQL's protocol.

    Args:
        address: libpq address with its secrets.
        declared: The same as declared, for messages.
        where: Asset, for messages.

    Raises:
        DependencyError: The package is not installed.
    """

    def __init__(self, address: str, declared: str, where: str) -> None:
        try:
            import adbc_driver_postgresql.dbapi as dbapi
        except ModuleNotFoundError as exc:
            raise missing_extra("adbc_driver_postgresql", "databases") from exc
        self._dbapi: Any = dbapi
        options = dict(parse_qsl(urlsplit(address).query))
        separator = "&" if options else "?"
        waits = "" if "connect_timeout" in options else f"{separator}connect_timeout={CONNECT_SECONDS}"
        self._address, self._declared, self._where = address + waits, declared, where

    def __repr__(self) -> str:
        return f"AdbcPostgres('{self._declared}')"

    def quoted(self, name: str) -> str:
        """See ``Database``."""
        return ".".join(_quoted(part) for part in name.split("."))

    def read(self, selection: Selection) -> pa.Table:
        """See ``Database``."""
        try:
            connection = self._dbapi.connect(self._address)
        except self._dbapi.Error as exc:
            raise connecting_failed(str(exc), self._declared, self._where) from None  # Its text may hold a secret.
        with closing(connection), closing(connection.cursor()) as cursor:
            try:
                # One snapshot for both queries, and no query that writes.
                cursor.execute("set transaction isolation level repeatable read, read only")
                cursor.execute(f"select * from (\n{selection.query}\n) as source limit 0")
                schema = cursor.fetch_arrow_table().schema
                cursor.execute(self._query(selection, schema))
                rows = cursor.fetch_arrow_table()
            except self._dbapi.Error as exc:
                text = str(exc).partition("Query was:")[0].removeprefix("NOT_FOUND: ")
                raise query_failed(text, self._declared, self._where) from None
        plain = pa.table([_storage(column) for column in rows.columns], names=rows.column_names)
        for name in plain.column_names:
            self._check_range(plain[name], name)
        return plain

    def _query(self, selection: Selection, schema: pa.Schema) -> str:
        columns = ", ".join(_projected(field) for field in schema)
        query = f"select {columns} from (\n{selection.query}\n) as source"
        if selection.cursor is None or selection.start is None:
            return query
        kind = schema.field(selection.cursor).type if selection.cursor in schema.names else pa.null()
        column = f"source.{_quoted(selection.cursor)}"
        return f"{query} where {column} >= {_literal(selection.start, kind)} or {column} is null"

    def _check_range(self, column: pa.ChunkedArray, name: str) -> None:
        """Ensures that no time lies where no calendar has it: 'infinity' comes as a number that overflowed."""
        if not pa.types.is_date(column.type) and not pa.types.is_timestamp(column.type):
            return
        unit = pa.int32() if pa.types.is_date32(column.type) else pa.int64()
        ends = pc.min_max(column.cast(unit))
        lowest, highest = (pa.scalar(end, pa.date32()).cast(pa.int32()).as_py() for end in (EARLIEST, LATEST))
        per_day = 1 if pa.types.is_date32(column.type) else 86_400_000_000
        if ends["min"].as_py() is not None and not (
            lowest * per_day <= ends["min"].as_py() and ends["max"].as_py() < (highest + 1) * per_day
        ):
            raise UserError(
                f"Column '{name}' holds a time that no calendar has, such as 'infinity'.", self._where,
                f"Leave it out in the query: nullif({name}, 'infinity').",
            )  # fmt: skip


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _projected(field: pa.Field) -> str:
    column = f"source.{_quoted(field.name)}"
    kind = (field.metadata or {}).get(b"POSTGRESQL:type", b"").decode()
    if kind in AS_THEY_ARE:
        return column
    text = f"to_json({column})::text" if kind.startswith("_") else f"{column}::text"
    return f"{text} as {_quoted(field.name)}"


def _storage(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Returns a column without an extension type: UUID and JSON as text."""
    kind = column.type
    if not isinstance(kind, pa.BaseExtensionType):
        return column
    if kind.extension_name == "arrow.uuid":
        return pa.chunked_array([[None if value is None else str(value) for value in column.to_pylist()]], pa.string())
    chunks = [chunk.storage for chunk in column.chunks]
    return pa.chunked_array(chunks, kind.storage_type)


def _literal(value: CursorValue, kind: pa.DataType) -> str:
    if isinstance(value, datetime):
        utc = value.astimezone(UTC)
        aware = pa.types.is_timestamp(kind) and kind.tz is not None
        return f"timestamptz '{utc.isoformat()}'" if aware else f"timestamp '{utc.replace(tzinfo=None).isoformat()}'"
    return f"date '{value.isoformat()}'" if isinstance(value, date) else str(int(value))
