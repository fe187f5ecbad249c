"""Column lineage of queries, case by case."""

import pytest

from mosaic_assets.lineage.columns import column_lineage

SCHEMAS = {
    "raw.t": {"a": "bigint", "b": "bigint", "c": "string", "s": "struct", "arr": "array", "Day": "date"},
    "raw.u": {"a": "bigint", "d": "bigint"},
    "deep.er.v": ["k"],
}
EVERY_T = {name: f"t.{name}" for name in SCHEMAS["raw.t"]}


def uses(text: str) -> tuple[tuple[str, str], ...]:
    short = {"t": "raw.t", "u": "raw.u", "v": "deep.er.v"}
    return tuple(sorted((short[word.split(".")[0]], word.split(".")[1]) for word in text.split()))


@pytest.mark.parametrize(
    ("query", "known"),
    [
        ("select a, b + a as x, 1 as one, count(*) as n from raw.t", {"a": "t.a", "x": "t.a t.b", "one": "", "n": ""}),
        ("select * from raw.t", EVERY_T),
        ("select * except (a, s, arr, Day) from raw.t", {"b": "t.b", "c": "t.c"}),
        ("select t.*, u.d from raw.t, raw.u", EVERY_T | {"d": "u.d"}),
        ("select t.a, raw.u.a as ua from raw.t join raw.u on t.b = u.d", {"a": "t.a", "ua": "u.a"}),
        ("select * from raw.u left semi join raw.t on t.a = u.a", {"a": "u.a", "d": "u.d"}),
        ("select * from raw.u left anti join raw.t using (a)", {"a": "u.a", "d": "u.d"}),
        ("select a, d, c from raw.t join raw.u using (a)", {"a": "t.a u.a", "d": "u.d", "c": "t.c"}),
        ("select k from deep.er.v", {"k": "v.k"}),
        ("with x as (select a as p, b from raw.t), y(q) as (select p from x) select q, b from y, x",
         {"q": "t.a", "b": "t.b"}),
        ("with raw as (select a from raw.t) select * from raw", {"a": "t.a"}),
        ("select a from raw.t union all select d from raw.u", {"a": "t.a u.d"}),
        ("(select a from raw.t) union (select d from raw.u) order by 1", {"a": "t.a u.d"}),
        ("select z.a from (select a from raw.t except select a from raw.u) z", {"a": "t.a u.a"}),
        ("select sum(b) over (partition by c order by a) as s from raw.t", {"s": "t.a t.b t.c"}),
        ("select sum(b) over w as s from raw.t window w as (partition by c order by a)", {"s": "t.a t.b t.c"}),
        ("select rank() over (w order by b) as r from raw.t window w as (partition by c)", {"r": "t.b t.c"}),
        ("select * from (select a, row_number() over (partition by b order by c) as rn from raw.t) where rn = 1",
         {"a": "t.a", "rn": "t.b t.c"}),
        ("select (select max(d) from raw.u where u.a = t.a) as m from raw.t", {"m": "u.d"}),
        ("select a in (select d from raw.u) as i from raw.t", {"i": "t.a u.d"}),
        ("select exists (select 1 from raw.u where u.a = t.b) as e from raw.t", {"e": "t.b u.a"}),
        ("select x from raw.t lateral view explode(arr) e as x", {"x": "t.arr"}),
        ("select posexplode(arr) as (p, q), explode(arr) as r from raw.t", {"p": "t.arr", "q": "t.arr", "r": "t.arr"}),
        ("select x.q from (select posexplode(arr) as (p, q) from raw.t) x", {"q": "t.arr"}),
        ("select transform(arr, v -> v + b) as n, s.x.y as deep, t.s.x as x from raw.t",
         {"n": "t.arr t.b", "deep": "t.s", "x": "t.s"}),
        ("select v.p, a from raw.t, values (1, 2) as v(p, q)", {"p": "", "a": "t.a"}),
        ("select case when a > 1 then b else c end as x from raw.t where s is null", {"x": "t.a t.b t.c"}),
        ("select DAY, `Day` as MyDay from raw.t", {"DAY": "t.Day", "MyDay": "t.Day"}),
        ("select * from (select a as MixedCase from raw.t)", {"MixedCase": "t.a"}),
        # An alias to the left counts only where no source has the column.
        ("select b as a, a as x from raw.t", {"a": "t.b", "x": "t.a"}),
        ("select b + 1 as fresh, fresh * 2 as x from raw.t", {"fresh": "t.b", "x": "t.b"}),
        ("select :start as start, a from raw.t where a between :start and :end", {"start": "", "a": "t.a"}),
    ],
)  # fmt: skip
def test_column_lineage_known(query: str, known: dict[str, str]) -> None:
    found = column_lineage(query, SCHEMAS)
    assert dict(found.known) == {name: uses(text) for name, text in known.items()}
    assert found.unknown == ()


@pytest.mark.parametrize(
    ("query", "known", "unknown"),
    [
        ("select z, a from raw.t", ["a"], ["z"]),
        ("select a, u.d from raw.t join raw.u on true", ["d"], ["a"]),  # ambiguous
        ("select * from raw.nope", [], ["*"]),
        ("select *, 1 as one from raw.nope", ["one"], ["*"]),
        ("select n.x, t.a from raw.nope n join raw.t t on true", ["a"], ["x"]),
        ("select t.a as k, k + 1 as m from raw.t t join raw.nope on true", ["k"], ["m"]),  # nope may have a k
        ("select a + 1, b from raw.t", ["b"], ["raw.t.a + 1"]),
        ("select x.two from (select a as one from raw.t) x", [], ["*"]),  # no engine takes it
        ("with recursive r as (select a as n from raw.t union all select n + 1 from r) select n from r", [], ["*"]),
        ("select * from raw.t pivot (sum(b) for c in ('x', 'y'))", [], ["*"]),
        ("select s.* from raw.t", [], ["*"]),
        ("select col from raw.t lateral view inline(arr)", [], ["col"]),
        ("select x.* from range(10) x", [], ["*"]),
        ("values (1)", [], ["*"]),
        ("not a query", [], ["*"]),
    ],
)
def test_column_lineage_unknown_is_listed(query: str, known: list[str], unknown: list[str]) -> None:
    found = column_lineage(query, SCHEMAS)
    assert (list(found.known), list(found.unknown)) == (known, unknown)


def test_column_lineage_knows_the_story(story_queries: dict[str, str]) -> None:
    columns = "year month day carrier flight tailnum origin dest distance sched_dep_time sched_arr_time dep_delay"
    schemas = {"raw.flights": [*columns.split(), "_rescued_data", "_source_file", "_source_row"]}
    found = column_lineage(story_queries["tables/flights.sql"], schemas)
    assert found.unknown == ()
    assert found.known["month"] == (("raw.flights", "month"), ("raw.flights", "year"))
