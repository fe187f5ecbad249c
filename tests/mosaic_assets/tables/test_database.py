"""A raw table from a real PostgreSQL: what comes, what comes again, what is refused."""

import os
import traceback
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mosaic_assets.tables.cursor import load
from mosaic_assets.tables.database.load import database_source
from mosaic_assets.tables.evolution import columns_of
from mosaic_resources.databases.contract import open_database
from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.lake import Lake
from mosaic_resources.errors import DependencyError, MosaicError, UnknownNameError, UserError

pytest.importorskip("adbc_driver_postgresql", reason="the extra databases is not installed")
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
ADDRESS = "postgresql://mosaic:${SHOP_PASSWORD}@SHOP/postgres"


@pytest.fixture
def shop(postgres_address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A connection to the shop, whose table ``orders`` is empty."""
    import psycopg

    login, host = postgres_address.removeprefix("postgresql://").removesuffix("/postgres").split("@")
    monkeypatch.setenv("SHOP_PASSWORD", login.split(":")[1])
    monkeypatch.setenv("SHOP", host)
    with psycopg.connect(postgres_address, autocommit=True) as connection:
        connection.execute("drop table if exists orders")
        connection.execute("create table orders (id bigint, at timestamptz, amount numeric(10, 2), note text)")
        yield connection


def put(shop: Any, *rows: tuple[Any, ...]) -> None:
    for row in rows:
        shop.execute("insert into orders values (%s, %s, %s, %s)", [*row, *[None] * (4 - len(row))])


def bring(lake: Lake, query: str = "select * from orders", address: str = ADDRESS, **told: Any) -> Any:
    told = {"cursor": "at", "lag": 0, "mode": "add_new_columns", "columns": {}, **told}
    told["columns"] = columns_of(told["columns"], "test")
    database = open_database(address.replace("@SHOP", f"@{os.environ.get('SHOP')}"), "raw/orders")
    source = database_source(
        database, query, origin="postgresql://db/shop", rescued="_rescued_data", where="raw/orders", **told
    )
    return load(lake, "raw/orders", source, now_utc=NOON, commit=Commit("raw/orders"))


def ids(lake: Lake) -> list[int]:
    return sorted(lake.read("raw/orders")["id"].to_pylist())


def test_rows_from_the_cursor_on_are_appended_once(shop, lake):
    put(shop, (1, NOON), (2, NOON + timedelta(hours=1)))
    first, again = bring(lake), bring(lake)
    put(shop, (3, NOON + timedelta(hours=2)))
    second = bring(lake)
    assert (first.num_rows, again.num_rows, second.num_rows) == (2, 0, 1)
    assert first.version == again.version < second.version
    assert second.num_fetched == 2  # The rows before the cursor were not asked for.
    assert second.cursor == "2024-01-01T14:00:00+00:00"
    assert ids(lake) == [1, 2, 3]


def test_rows_of_the_cursors_own_value_are_neither_lost_nor_doubled(shop, lake):
    put(shop, (1, NOON, 5, "x"), (1, NOON, 5, "x"))
    bring(lake)
    put(shop, (1, NOON, 5, "x"), (2, NOON), (3, NOON, "NaN"))
    assert bring(lake).num_rows == 3
    assert bring(lake).num_rows == 0
    assert ids(lake) == [1, 1, 1, 2, 3]


def test_equal_rows_come_once_each_though_a_column_is_new(shop, lake):
    put(shop, (1, NOON), (2, NOON))
    bring(lake)
    shop.execute("alter table orders add column state text default 'new'")
    put(shop, (3, NOON))
    report = bring(lake)
    assert (report.num_rows, report.added) == (1, ("state",))
    assert sorted(lake.read("raw/orders").select(["id", "state"]).to_pylist(), key=str) == [
        {"id": 1, "state": None}, {"id": 2, "state": None}, {"id": 3, "state": "new"}
    ]  # fmt: skip


def test_a_row_that_came_late_is_read_within_the_lag(shop, lake):
    put(shop, (1, NOON), (2, NOON + timedelta(minutes=10)))
    bring(lake)
    put(shop, (3, NOON + timedelta(minutes=5)))
    assert bring(lake).num_rows == 0
    assert bring(lake, lag=600).num_rows == 1
    assert bring(lake, lag=600).num_rows == 0
    assert ids(lake) == [1, 2, 3]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("bigint", [-5, 2**62, 2**62 + 1]),
        ("smallint", [1, 2, 3]),
        ("date", [date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1)]),
        (
            "timestamp",
            [datetime(2024, 3, 31, 1, 59, 59, 999999), datetime(2024, 3, 31, 2), datetime(2024, 3, 31, 2, 0, 0, 1)],
        ),
        ("timestamptz", [datetime(1969, 12, 31, 23, 59, 59, 999999, UTC), NOON, datetime(9999, 12, 31, tzinfo=UTC)]),
    ],
)
def test_a_cursor_of_each_kind(shop, lake, kind, values):
    shop.execute("set timezone to 'Europe/Berlin'")
    shop.execute(f"alter table orders add column c {kind}")
    for number, value in enumerate(values):
        shop.execute("insert into orders (id, c) values (%s, %s)", [number, value])
        report = bring(lake, cursor="c")
        assert (report.num_rows, report.num_fetched) == (1, 1 if number == 0 else 2)
    assert bring(lake, cursor="c").num_rows == 0
    assert ids(lake) == [0, 1, 2]


def test_without_a_cursor_the_table_is_replaced(shop, lake):
    put(shop, (1, NOON), (2, NOON))
    bring(lake, cursor=None)
    shop.execute("delete from orders where id = 1")
    put(shop, (3, None))
    assert bring(lake, cursor=None).num_rows == 2
    assert ids(lake) == [2, 3]
    shop.execute("delete from orders")
    bring(lake, cursor=None)
    assert ids(lake) == []


def test_a_table_filled_whole_is_not_doubled_by_its_first_cursor_nor_by_another(shop, lake):
    put(shop, (1, NOON), (2, NOON))
    bring(lake, cursor=None)
    bring(lake)
    assert ids(lake) == [1, 2]
    bring(lake, cursor="id")
    assert ids(lake) == [1, 2]
    put(shop, (3, NOON))
    assert bring(lake, cursor="id").num_rows == 1
    assert ids(lake) == [1, 2, 3]


def test_an_empty_table_makes_an_empty_one_and_is_filled_later(shop, lake):
    first = bring(lake)
    assert (first.num_rows, bring(lake).version) == (0, first.version)
    put(shop, (1, NOON))
    assert bring(lake).num_rows == 1
    assert ids(lake) == [1]


def test_values_keep_what_they_are(shop, lake):
    shop.execute("drop type if exists mood cascade")
    shop.execute("create type mood as enum ('glad')")
    shop.execute(
        """create or replace view odd as select 1::bigint as id, timestamptz '2024-01-01 12:00+02' as at,
        timestamp '2024-01-01 12:00' as local, 12.30::numeric as price, 'glad'::mood as mood, inet '10.0.0.1' as host,
        '{"a": [1, 2]}'::jsonb as doc, array[1, 2] as list, 12.5::money as cost, '\\x00ff'::bytea as raw,
        '00000000-0000-0000-0000-00000000000a'::uuid as uid, time '01:02:03' as clock, 1.5::real as small,
        'ä:b'::text as text, null::int as nothing, true as flag, date '2024-02-29' as day, interval '1 day' as span"""
    )
    bring(lake, "select * from odd -- a note")
    (row,) = lake.read("raw/orders").to_pylist()
    assert {name: value for name, value in row.items() if not name.startswith("_")} == {
        "id": 1, "at": datetime(2024, 1, 1, 10, tzinfo=UTC), "local": NOON, "price": "12.30", "mood": "glad",
        "host": "10.0.0.1/32", "doc": '{"a": [1, 2]}', "list": "[1,2]", "cost": "$12.50", "raw": "AP8=",
        "uid": "00000000-0000-0000-0000-00000000000a", "clock": "01:02:03", "small": 1.5, "text": "ä:b",
        "nothing": None, "flag": True, "day": date(2024, 2, 29), "span": "1 day",
    }  # fmt: skip
    assert (row["_source_file"], row["_source_row"], row["_ingested_at"]) == ("postgresql://db/shop#1", 1, NOON)


def test_a_declared_type_is_laid_over_and_what_does_not_fit_is_rescued(shop, lake):
    put(shop, (1, NOON, 2.5, "7"), (2, NOON, 3.5, "seven"))
    bring(lake, columns={"amount": "double", "note": "int"})
    rows = sorted(lake.read("raw/orders").to_pylist(), key=lambda row: row["id"])
    assert [(row["amount"], row["note"], row["_rescued_data"]) for row in rows] == [
        (2.5, 7, None), (3.5, None, '{"note": "seven"}')
    ]  # fmt: skip
    assert bring(lake, columns={"amount": "double", "note": "int"}).num_rows == 0


@pytest.mark.parametrize(
    ("rows", "told", "match"),
    [
        ([(1, None)], {}, r"1 row\(s\) have no value in the cursor 'at'"),
        ([(1, "infinity")], {}, "Column 'at' holds a time that no calendar has, such as 'infinity'"),
        ([(1, NOON)], {"cursor": "note"}, "The cursor 'note' is string"),
        ([(1, NOON)], {"cursor": "amount"}, "The cursor 'amount' is string"),
        ([(1, NOON)], {"cursor": "att"}, "column of the result 'att' is not declared. Did you mean 'at'"),
        ([(1, NOON)], {"columns": {"sum": "double"}}, "column of the result 'sum' is not declared"),
        ([(1, NOON)], {"query": "select nope from orders"}, 'column "nope" does not exist.*Nothing was written'),
        ([(1, NOON)], {"query": "select id, id from orders"}, "The query failed.*id.*ambiguous"),
        ([(1, NOON)], {"query": "delete from orders returning *"}, "The query failed"),
        (
            [(1, NOON)],
            {"columns": {"at": "bigint"}},
            "The cursor 'at' is declared bigint, but the database gives timestamp",
        ),
    ],
)
def test_what_is_refused_writes_nothing(shop, lake, rows, told, match):
    put(shop, *rows)
    with pytest.raises(UserError, match=match):
        bring(lake, **told)
    assert not lake.exists("raw/orders")
    assert shop.execute("select count(*) from orders").fetchone() == (1,)


def test_a_function_that_writes_is_refused_by_the_database(shop, lake):
    put(shop, (1, NOON))
    shop.execute("create or replace function wipe() returns bigint language sql as 'delete from orders returning id'")
    with pytest.raises(UserError, match="cannot execute DELETE in a read-only transaction"):
        bring(lake, "select wipe() as id, now() as at")


@pytest.mark.parametrize(
    ("variables", "address", "error", "match"),
    [
        (
            {"SHOP_PASSWORD": None},
            ADDRESS,
            UserError,
            "raw/orders: The environment variable 'SHOP_PASSWORD' is not set",
        ),
        (
            {"SHOP_PASSWORD": "wr0ng"},
            ADDRESS,
            UserError,
            "refuses the login: .*password authentication failed.*SHOP_PASSWORD",
        ),
        ({"SHOP": "127.0.0.1:1"}, ADDRESS, DependencyError, "cannot be reached: .*Connection refused"),
        ({"SHOP_ALL": "postgresql://m:s3cr et@h/d"}, "${SHOP_ALL}", DependencyError, "cannot be reached"),
        ({"SHOP_ALL": "nonsense"}, "${SHOP_ALL}", UserError, "none that SQLAlchemy knows.*declared as '\\${SHOP_ALL}'"),
        ({}, "postgresql://mosaic:hushhush@db/shop", UserError, "The address holds a password"),
        ({}, "shop", UserError, "'shop' is no address"),
        ({}, "oracle+nosuch://db/shop", UserError, "none that SQLAlchemy knows"),
        ({}, "mysql+pymysql://db/shop", DependencyError, "The driver 'pymysql' is not installed"),
    ],
)
def test_a_credential_that_is_missing_or_wrong_is_one_error_without_it(
    shop, lake, monkeypatch, variables, address, error, match
):
    for name, value in variables.items():
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    with pytest.raises(error, match=match) as caught:
        bring(lake, address=address)
    told = "".join(traceback.format_exception(caught.value))
    assert "wr0ng" not in told
    assert "s3cr et" not in told
    assert isinstance(caught.value, MosaicError)
    assert not lake.exists("raw/orders")


def test_the_same_through_sqlalchemy(shop, lake, monkeypatch):
    address = ADDRESS.replace("postgresql:", "postgresql+psycopg:")
    put(shop, (1, NOON, 2.5, "it's 5:30 :x"), (2, NOON + timedelta(microseconds=1)))
    assert bring(lake, "select *, ':y'::text as y from orders", address).num_rows == 2
    put(shop, (3, NOON + timedelta(microseconds=1)))
    report = bring(lake, "select *, ':y'::text as y from orders", address)
    assert (report.num_rows, report.num_fetched, ids(lake)) == (1, 2, [1, 2, 3])
    row = next(row for row in lake.read("raw/orders").to_pylist() if row["id"] == 1)
    assert (row["amount"], row["note"], row["y"]) == ("2.50", "it's 5:30 :x", ":y")
    monkeypatch.setenv("SHOP_PASSWORD", "wr0ng")
    with pytest.raises(UserError, match="refuses the login"):
        bring(lake, address=address)


def test_sqlite_through_sqlalchemy(tmp_path: Path, lake: Lake):
    import sqlite3

    with sqlite3.connect(tmp_path / "shop.db") as shop:
        shop.execute("create table orders (id integer, note)")
        shop.executemany("insert into orders values (?, ?)", [(1, "a"), (2, 5)])
    address = f"sqlite:///{tmp_path}/shop.db"
    assert bring(lake, address=address, cursor="id").num_rows == 2
    with sqlite3.connect(tmp_path / "shop.db") as shop:
        shop.execute("insert into orders values (2, 'b')")
    assert bring(lake, address=address, cursor="id").num_rows == 1
    assert sorted(lake.read("raw/orders")["note"].to_pylist()) == ["5", "a", "b"]
    with pytest.raises(UnknownNameError, match="column of the result 'ad' is not declared"):
        bring(lake, address=address, cursor=None, columns={"ad": "int"})
