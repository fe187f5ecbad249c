"""Tables in a query's text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosaic_assets.lineage.sql import rename_tables, tables_of
from mosaic_resources.errors import UserError

NAMES = {"raw.flights": "R_F", "a.b.c": "ABC", "delta./lake/x.y": "DELTA", "flights": "FL"}


@pytest.mark.parametrize(
    ("query", "tables"),
    [
        ("select 1", []),
        ("select * from raw.flights", ["raw.flights"]),
        ("from raw.flights select origin", ["raw.flights"]),
        ("(select 1 from a.b) union all (select 1 from c.d) order by 1;", ["a.b", "c.d"]),
        ("select * from a.b.c join a.b.c.d on true join one", ["a.b.c", "a.b.c.d", "one"]),
        ("select * from delta.`/lake/x.y` d", ["delta./lake/x.y"]),
        ("select 'raw.flights' as `raw.flights` /* raw.flights */ from x.y -- raw.flights", ["x.y"]),
        ("select explode(raw.flights) from range(10) lateral view explode(m) t as u", []),
        ("select * from x.y where k in (select k from x.z where exists (select 1 from x.w))", ["x.y", "x.z", "x.w"]),
        ("with t as (select * from x.y) select * from t join T on true", ["x.y"]),
        ("with flights as (select * from flights) select * from flights", ["flights"]),
        ("with a as (select 1), b as (select * from a, c) select * from b", ["c"]),
        ("with recursive r as (select 1 as n union all select n + 1 from r) select * from r", []),
        (
            "select * from (with inner_one as (select * from x.y) select * from inner_one) q, inner_one",
            ["x.y", "inner_one"],
        ),
        ("values (1), (2)", []),
    ],
)
def test_tables_of(query: str, tables: list[str]) -> None:
    assert sorted(tables_of(query)) == sorted(tables)


@pytest.mark.parametrize(
    ("query", "renamed"),
    [
        ("select origin from raw . flights -- raw.flights", "select origin from R_F -- raw.flights"),
        ("select raw.flights.x, flights.y, f.z from raw.flights", "select R_F.x, R_F.y, f.z from R_F"),
        ("select raw.flights.*, flights.* from raw.flights", "select R_F.*, R_F.* from R_F"),
        ("select flights.y from raw.flights flights", "select flights.y from R_F flights"),
        ("select c.x from a.b.c where c.k in (select k from z where z.q = c.q)",
         "select ABC.x from ABC where ABC.k in (select k from z where z.q = ABC.q)"),
        ("select x from a.b.c where exists (select 1 from o.c where c.k = 1)",
         "select x from ABC where exists (select 1 from o.c where c.k = 1)"),
        ("with flights as (select * from flights) select flights.x from flights",
         "with flights as (select * from FL) select flights.x from flights"),
        ("select transform(xs, v -> v.flights) from raw.flights", "select transform(xs, v -> v.flights) from R_F"),
        ("select 'é', `raw`.`flights`.`ü` from `raw`.`flights`", "select 'é', R_F.`ü` from R_F"),
        ("select * from delta.`/lake/x.y` as t where a > :raw", "select * from DELTA as t where a > :raw"),
        ("select * from raw.flights version as of 3", "select * from R_F version as of 3"),
    ],
)  # fmt: skip
def test_rename_tables(query: str, renamed: str) -> None:
    assert rename_tables(query, NAMES) == renamed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("select from where", r"defs/x.sql: The query is no Spark SQL at line 1"),
        ("select 'open", "no Spark SQL"),
        ("drop table raw.flights", "not one query"),
        ("select 1; select 2", "not one query"),
        ("", "not one query"),
    ],
)
def test_tables_of_refuses(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        tables_of(text, "defs/x.sql")


words = st.sampled_from(["raw.flights", "x.y", "one", "delta.`/p/q`", "a.b.c.d"])


@given(st.lists(words, min_size=1, max_size=5), st.sampled_from([" ", "\n", " /* raw.flights */ ", "\t-- é\n"]))
def test_rename_tables_back_and_forth(tables: list[str], space: str) -> None:
    query = f"select{space}'x.y'{space}from{space}" + f"{space}cross join{space}".join(
        f"{t} t{i}" for i, t in enumerate(tables)
    )
    names = {name: f"`{number}`.new" for number, name in enumerate(tables_of(query))}
    there = rename_tables(query, names)
    assert tables_of(there) == [name.replace("`", "") for name in names.values()]
    back = {f"{number}.new": name.replace("/p/q", "`/p/q`") for number, name in enumerate(names)}
    assert rename_tables(there, back) == query
