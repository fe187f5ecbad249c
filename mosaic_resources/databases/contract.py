"""What a raw table asks of a database: the rows of one query, from a value of its cursor on."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol
from urllib.parse import urlsplit

import pyarrow as pa

from mosaic_resources.errors import UserError
from mosaic_resources.settings.references import check_no_password, names_in, resolved

__all__ = ["CursorValue", "Database", "Selection", "check_address", "open_database", "shown"]

CursorValue = int | date | datetime
POSTGRES = ("postgresql", "postgres")


@dataclass(frozen=True)
class Selection:
    """What is read.

    Args:
        query: One query in the database's own SQL.
        cursor: Column of its result whose values grow; None: all rows are read.
        start: Rows whose cursor is at least this are read, and those that have none; None: all. Times are UTC.
    """

    query: str
    cursor: str | None = None
    start: CursorValue | None = None


class Database(Protocol):
    """Reads rows; an implementation is a class in a file of its own and a line in ``open_database``."""

    def quoted(self, name: str) -> str:
        """Returns the name of a table, ``schema.table``, as it stands in a query."""
        ...

    def read(self, selection: Selection) -> pa.Table:
        """Returns the rows of a selection as of one moment; a value of a type that Arrow lacks is its text.

        Raises:
            UserError: The credential is refused, the query is wrong, or the cursor cannot be compared.
            DependencyError: The driver is not installed, or the server does not answer.
        """
        ...


def check_address(address: str, where: str) -> None:
    """Ensures that an address can be opened as far as its text tells.

    Raises:
        UserError: It holds a password, or has no scheme.
    """
    if names_in(address) == [address[2:-1]]:
        return  # One variable holds all of it.
    if "://" not in address:
        raise UserError(
            f"'{address}' is no address.", where, "Write postgresql://user:${PASSWORD}@host/database, or ${NAME}."
        )
    check_no_password(address, where)


def open_database(address: str, where: str) -> Database:
    """Returns the database at an address, not connected yet.

    Args:
        address: As declared, with ``${NAME}`` for what is secret. ``postgresql://`` is read through ADBC, every other
            scheme through SQLAlchemy (``mysql+pymysql://``, ``postgresql+psycopg://``, ``sqlite:////file.db``).
        where: Asset, for messages.

    Raises:
        UserError: A variable is not set, or the address holds a password.
        DependencyError: The driver is not installed.
    """
    check_address(address, where)
    told = resolved(address, where)
    if urlsplit(told).scheme in POSTGRES:
        from mosaic_resources.databases.adbc_postgres import AdbcPostgres

        return AdbcPostgres(told, address, where)
    from mosaic_resources.databases.sqlalchemy_database import SqlAlchemyDatabase

    return SqlAlchemyDatabase(told, address, where)


def shown(address: str) -> str:
    """Returns an address as it may be shown: without user, password and options.

    Example:
        >>> shown("postgresql://reader:s3cret@db:5432/shop?sslmode=require")
        'postgresql://db:5432/shop'
    """
    scheme, _, rest = address.partition("://")
    host, slash, path = rest.partition("?")[0].rpartition("@")[2].partition("/")
    return f"{scheme}://{host}{slash}{path}"
