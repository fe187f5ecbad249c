"""Column lineage of PySpark frames, case by case, on a live engine; beside the lineage of the same query as SQL."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812

from mosaic_assets.lineage.columns import column_lineage
from mosaic_assets.lineage.pyspark_columns import frame_lineage
from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.lake import Lake
from mosaic_resources.delta.writers import DeltaRsWriter

ROWS = {
    "raw/t": pa.table(
        {
            "a": pa.array([1, 2], pa.int64()),
            "b": pa.array([3, 4], pa.int64()),
            "c": ["x", "y"],
            "s": pa.array([{"x": 1}, {"x": 2}], pa.struct({"x": pa.int64()})),
            "arr": pa.array([[1], [2, 3]], pa.list_(pa.int64())),
        }
    ),
    "raw/u": pa.table({"a": pa.array([1], pa.int64()), "d": pa.array([9], pa.int64())}),
}
SCHEMAS = {name.replace("/", "."): rows.column_names for name, rows in ROWS.items()}
EVERY = {name: f"t.{name}" for name in ROWS["raw/t"].column_names}
Frames = dict[str, DataFrame]
Tables = dict[str, tuple[str, list[str]]]


@pytest.fixture(scope="module")
def stored(engine: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Frames, Tables]:
    lake = Lake(str(tmp_path_factory.mktemp("lake")), DeltaRsWriter())
    for name, rows in ROWS.items():
        lake.write(name, rows, Commit("test"))
    reader = engine.session().read.format("delta")
    frames = {name[-1]: reader.option("versionAsOf", 1).load(lake.path(name)) for name in ROWS}
    return frames, {lake.path(name): (name, rows.column_names) for name, rows in ROWS.items()}


def uses(text: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((f"raw/{word.split('.')[0]}", word.split(".")[1]) for word in text.split()))


def by(*names: str) -> Any:
    return Window.partitionBy(*names)


def from_file(t: DataFrame, u: DataFrame) -> DataFrame:
    """The transform of the example story, with these columns."""
    kept = t.where("a is not null and b is not null")
    unique = kept.withColumn("place", F.row_number().over(by("a", "b").orderBy(F.col("c").desc()))).where("place = 1")
    window = by("a").orderBy("b")
    since = F.col("b") - F.lag("b").over(window)
    return unique.select(
        "a",
        F.col("b").alias("event"),
        (since / F.lit(60.0)).alias("turn"),
        F.avg("b").over(window.rowsBetween(-2, 0)).alias("mean"),
        F.length("c").alias("n"),
    ).drop("n")


Build = Callable[[DataFrame, DataFrame], DataFrame]
# What is built, what is expected, and the same as SQL where SQL can say it.
CASES: dict[str, tuple[Build, dict[str, str], str | None]] = {
    "read": (lambda t, u: t, EVERY, "select * from raw.t"),
    "select": (
        lambda t, u: t.select("a", t.b, t["c"]),
        {"a": "t.a", "b": "t.b", "c": "t.c"},
        "select a, b, c from raw.t",
    ),
    "star": (lambda t, u: t.select("*", F.lit(1).alias("one")), EVERY | {"one": ""}, "select *, 1 as one from raw.t"),
    "alias": (lambda t, u: t.select(F.col("a").alias("x")), {"x": "t.a"}, "select a as x from raw.t"),
    "sum of two": (lambda t, u: t.select((t.a + t.b).alias("x")), {"x": "t.a t.b"}, "select a + b as x from raw.t"),
    "cast": (
        lambda t, u: t.select(t.a.cast("string").alias("x")),
        {"x": "t.a"},
        "select cast(a as string) as x from raw.t",
    ),
    "case": (
        lambda t, u: t.select(F.when(t.a > 1, t.b).otherwise(F.length("c")).alias("x")),
        {"x": "t.a t.b t.c"},
        "select case when a > 1 then b else length(c) end as x from raw.t",
    ),
    "isin": (lambda t, u: t.select(t.a.isin(1, 2).alias("x")), {"x": "t.a"}, "select a in (1, 2) as x from raw.t"),
    "coalesce": (
        lambda t, u: t.select(F.coalesce("a", "b").alias("x")),
        {"x": "t.a t.b"},
        "select coalesce(a, b) as x from raw.t",
    ),
    "random": (lambda t, u: t.select(F.rand().alias("x"), "a"), {"x": "", "a": "t.a"}, None),
    "struct field": (
        lambda t, u: t.select("s.x", F.col("s").getField("x").alias("y")),
        {"x": "t.s", "y": "t.s"},
        "select s.x, s.x as y from raw.t",
    ),
    "element": (lambda t, u: t.select(F.get("arr", F.col("a")).alias("x")), {"x": "t.arr t.a"}, None),
    "lambda": (
        lambda t, u: t.select(F.transform("arr", lambda v: v + t.b).alias("x")),
        {"x": "t.arr t.b"},
        "select transform(arr, v -> v + b) as x from raw.t",
    ),
    "explode": (
        lambda t, u: t.select("a", F.explode("arr").alias("x")),
        {"a": "t.a", "x": "t.arr"},
        "select a, explode(arr) as x from raw.t",
    ),
    "posexplode": (
        lambda t, u: t.select(F.posexplode("arr").alias("p", "q")),
        {"p": "t.arr", "q": "t.arr"},
        "select posexplode(arr) as (p, q) from raw.t",
    ),
    "expression": (
        lambda t, u: u.selectExpr("a + d as x", "*"),
        {"x": "u.a u.d", "a": "u.a", "d": "u.d"},
        "select a + d as x, * from raw.u",
    ),
    "expr": (lambda t, u: t.select(F.expr("case when a > 1 then b end").alias("x")), {"x": "t.a t.b"}, None),
    "expr with lambda": (lambda t, u: t.selectExpr("filter(arr, v -> v > a) as x"), {"x": "t.arr t.a"}, None),
    "where": (
        lambda t, u: t.where("b > 1").filter(t.a > 0).select("c"),
        {"c": "t.c"},
        "select c from raw.t where b > 1",
    ),
    "order and limit": (
        lambda t, u: t.orderBy("b").limit(3).offset(1).select("a"),
        {"a": "t.a"},
        "select a from raw.t order by b limit 3",
    ),
    "distinct": (
        lambda t, u: t.select("a", "b").distinct(),
        {"a": "t.a", "b": "t.b"},
        "select distinct a, b from raw.t",
    ),
    "drop duplicates": (lambda t, u: t.select("a", "b").dropDuplicates(["a"]), {"a": "t.a", "b": "t.b"}, None),
    "with a new column": (
        lambda t, u: u.withColumn("x", F.col("a") + F.col("d")),
        {"a": "u.a", "d": "u.d", "x": "u.a u.d"},
        "select *, a + d as x from raw.u",
    ),
    "with a column replaced": (
        lambda t, u: u.withColumn("d", F.col("a") * 2),
        {"a": "u.a", "d": "u.a"},
        "select a, a * 2 as d from raw.u",
    ),
    "with columns at once": (
        lambda t, u: u.withColumns({"a": F.col("d"), "x": F.col("a")}),
        {"a": "u.d", "d": "u.d", "x": "u.a"},
        "select d as a, d, a as x from raw.u",
    ),
    "renamed": (
        lambda t, u: u.withColumnRenamed("d", "e").select("e", "a"),
        {"e": "u.d", "a": "u.a"},
        "select d as e, a from raw.u",
    ),
    "renamed both": (lambda t, u: u.withColumnsRenamed({"a": "x", "d": "y"}), {"x": "u.a", "y": "u.d"}, None),
    "to df": (lambda t, u: u.toDF("p", "q"), {"p": "u.a", "q": "u.d"}, None),
    "drop": (
        lambda t, u: t.drop("s", "arr", "nope").drop(t.c),
        {"a": "t.a", "b": "t.b"},
        "select * except (s, arr, c) from raw.t",
    ),
    "join on": (
        lambda t, u: t.join(u, t.a == u.a).select(t.a, u.a.alias("ua"), "d"),
        {"a": "t.a", "ua": "u.a", "d": "u.d"},
        "select t.a, u.a as ua, d from raw.t join raw.u on t.a = u.a",
    ),
    "join using": (
        lambda t, u: t.join(u, "a").select("a", "d", "c"),
        {"a": "t.a u.a", "d": "u.d", "c": "t.c"},
        "select a, d, c from raw.t join raw.u using (a)",
    ),
    "left join and drop": (
        lambda t, u: t.select("a", "b").join(u, t.a == u.a, "left").drop(u.a),
        {"a": "t.a", "b": "t.b", "d": "u.d"},
        "select t.a, b, d from raw.t left join raw.u on t.a = u.a",
    ),
    "full join": (lambda t, u: t.join(u, ["a"], "full").select("a", "b"), {"a": "t.a u.a", "b": "t.b"}, None),
    "semi join": (
        lambda t, u: u.join(t, t.a == u.a, "left_semi"),
        {"a": "u.a", "d": "u.d"},
        "select * from raw.u left semi join raw.t on t.a = u.a",
    ),
    "anti join": (
        lambda t, u: u.join(t, "a", "left_anti"),
        {"a": "u.a", "d": "u.d"},
        "select * from raw.u left anti join raw.t using (a)",
    ),
    "cross join": (
        lambda t, u: t.select("b").crossJoin(u),
        {"b": "t.b", "a": "u.a", "d": "u.d"},
        "select x.b, u.a, u.d from (select b from raw.t) x cross join raw.u",
    ),
    "self join by alias": (
        lambda t, u: (
            t.alias("l").join(t.alias("r"), F.col("l.a") == F.col("r.b")).select("l.c", F.col("r.a").alias("ra"))
        ),
        {"c": "t.c", "ra": "t.a"},
        "select l.c, r.a as ra from raw.t l join raw.t r on l.a = r.b",
    ),
    "star of an alias": (
        lambda t, u: t.alias("l").join(u.alias("r"), F.col("l.a") == F.col("r.a")).select("r.*", "l.b"),
        {"a": "u.a", "d": "u.d", "b": "t.b"},
        "select r.*, l.b from raw.t l join raw.u r on l.a = r.a",
    ),
    "group": (
        lambda t, u: t.groupBy("c").agg(F.sum("a").alias("x"), F.count("*").alias("n"), F.max(t.b).alias("m")),
        {"c": "t.c", "x": "t.a", "n": "", "m": "t.b"},
        "select c, sum(a) as x, count(*) as n, max(b) as m from raw.t group by c",
    ),
    "group without names": (lambda t, u: t.groupBy("c").sum("a"), {"c": "t.c", "sum(a)": "t.a"}, None),
    "group by an expression": (
        lambda t, u: t.groupBy((t.a % 2).alias("odd")).agg(F.avg("b").alias("x")),
        {"odd": "t.a", "x": "t.b"},
        "select a % 2 as odd, avg(b) as x from raw.t group by a % 2",
    ),
    "aggregate of all": (lambda t, u: t.agg(F.sum("a").alias("x")), {"x": "t.a"}, "select sum(a) as x from raw.t"),
    "rollup": (lambda t, u: t.rollup("c").agg(F.sum("a").alias("x")), {"c": "t.c", "x": "t.a"}, None),
    "window": (
        lambda t, u: t.select(F.sum("b").over(by("c").orderBy("a")).alias("x")),
        {"x": "t.a t.b t.c"},
        "select sum(b) over (partition by c order by a) as x from raw.t",
    ),
    "window then filter": (
        lambda t, u: t.withColumn("n", F.row_number().over(by("a").orderBy("b"))).where("n = 1").select("c", "n"),
        {"c": "t.c", "n": "t.a t.b"},
        "select c, n from (select *, row_number() over (partition by a order by b) as n from raw.t) where n = 1",
    ),
    "lag": (
        lambda t, u: t.select((t.b - F.lag("b", 1).over(by("a").orderBy("c"))).alias("x")),
        {"x": "t.a t.b t.c"},
        "select b - lag(b, 1) over (partition by a order by c) as x from raw.t",
    ),
    "union": (
        lambda t, u: t.select("a").union(u.select("d")),
        {"a": "t.a u.d"},
        "select a from raw.t union all select d from raw.u",
    ),
    "union by name": (
        lambda t, u: t.select("a", "b").unionByName(u.select(F.col("d").alias("b"), "a")),
        {"a": "t.a u.a", "b": "t.b u.d"},
        None,
    ),
    "except": (
        lambda t, u: t.select("a").exceptAll(u.select("a")),
        {"a": "t.a u.a"},
        "select a from raw.t except all select a from raw.u",
    ),
    "intersect": (
        lambda t, u: t.select("a").intersect(u.select("d")),
        {"a": "t.a u.d"},
        "select a from raw.t intersect select d from raw.u",
    ),
    "fill": (lambda t, u: u.fillna(0, ["d"]), {"a": "u.a", "d": "u.d"}, None),
    "a quoted name": (
        lambda t, u: u.select(F.col("a").alias("x.y")).select(F.col("`x.y`").alias("z")),
        {"z": "u.a"},
        "select `x.y` as z from (select a as `x.y` from raw.u)",
    ),
    "another case": (lambda t, u: u.select("A", F.col("D").alias("e")), {"a": "u.a", "e": "u.d"}, None),
    "local rows beside": (
        lambda t, u: u.crossJoin(u.sparkSession.createDataFrame(pa.table({"k": [1]}))),
        {"a": "u.a", "d": "u.d", "k": ""},
        None,
    ),
    "a range beside": (lambda t, u: u.sparkSession.range(3).crossJoin(u.select("d")), {"id": "", "d": "u.d"}, None),
    "a query over a frame": (
        lambda t, u: u.sparkSession.sql("select d + a as x, d from {f}", f=u),
        {"x": "u.a u.d", "d": "u.d"},
        None,
    ),
    "melted": (lambda t, u: u.unpivot(["a"], ["d"], "name", "value"), {"a": "u.a", "name": "", "value": "u.d"}, None),
    "watermark, hint, repartition": (lambda t, u: u.hint("broadcast").repartition(2).select("d"), {"d": "u.d"}, None),
    "the story's": (from_file, {"a": "t.a", "event": "t.b", "turn": "t.a t.b", "mean": "t.a t.b"}, None),
}


def lineage(stored: Any, build: Build) -> Any:
    frames, tables = stored
    frame = build(frames["t"], frames["u"])
    return frame_lineage(frame, tables), frame


@pytest.mark.parametrize("case", CASES)
def test_column_lineage_known(stored: Any, case: str) -> None:
    build, expected, _ = CASES[case]
    found, frame = lineage(stored, build)
    told = {name.lower(): used for name, used in found.known.items()}
    assert told == {name: uses(text) for name, text in expected.items()}, found.reason
    assert found.unknown == ()
    assert [name.lower() for name in found.known] == [name.lower() for name in frame.columns]


@pytest.mark.parametrize("case", [name for name, (_, _, query) in CASES.items() if query])
def test_the_same_query_as_sql_has_the_same_lineage(stored: Any, case: str) -> None:
    build, _, query = CASES[case]
    assert query is not None
    found, _ = lineage(stored, build)
    by_sql = {
        name: tuple(sorted((table.replace(".", "/"), column) for table, column in used))
        for name, used in column_lineage(query, SCHEMAS).known.items()
    }
    assert {name.lower(): used for name, used in found.known.items()} == by_sql


def double(batches: Any) -> Any:
    yield from batches


def plus(column: str) -> Any:
    return F.udf(lambda value: value + 1, "bigint")(column)


OTHER: list[str] = []
UNKNOWN: dict[str, tuple[Build, dict[str, str], list[str], str]] = {
    "udf": (lambda t, u: u.select("a", plus("d").alias("x")), {"a": "u.a"}, ["x"], "A Python function hides"),
    "on top of a udf": (
        lambda t, u: u.select("a", plus("d").alias("x")).select("a", (F.col("x") + 1).alias("y")),
        {"a": "u.a"},
        ["y"],
        "A Python function hides",
    ),
    "map in arrow": (
        lambda t, u: u.mapInArrow(double, "a bigint, d bigint").select("a"),
        {},
        ["a"],
        "A Python function",
    ),
    "apply in pandas": (
        lambda t, u: u.groupBy("a").applyInPandas(lambda p: p, "a bigint, d bigint"),
        {},
        ["a", "d"],
        "A Python",
    ),
    "registered function": (
        lambda t, u: u.selectExpr("a", "mosaic_twice(d) as x"),
        {"a": "u.a"},
        ["x"],
        "may be one of Python",
    ),
    "pivot": (
        lambda t, u: t.groupBy("a").pivot("c", ["x", "y"]).agg(F.sum("b")),
        {},
        ["a", "x", "y"],
        "known to the engine",
    ),
    "view": (lambda t, u: u.sparkSession.sql("select d from mosaic_view_of_u"), {}, ["d"], ""),
    "other file": (lambda t, u: u.sparkSession.read.format("delta").load(OTHER[0]), {}, ["z"], "no declared input"),
    "ambiguous": (lambda t, u: t.select("a").crossJoin(u).select("d"), {"d": "u.d"}, [], ""),
    "explode without a name": (lambda t, u: t.select("a", F.explode("arr")), {}, ["a", "col"], "give them names"),
    "scalar function of a column made there": (
        lambda t, u: u.select(F.call_function("abs", "d").alias("x")),
        {},
        ["x"],
        "A Python",
    ),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_column_lineage_unknown(stored: Any, case: str, tmp_path: Path, engine: Any) -> None:
    frames, _ = stored
    lake = Lake(str(tmp_path), DeltaRsWriter())
    lake.write("z", pa.table({"z": [1]}), Commit("z"))
    OTHER[:] = [lake.path("z")]
    frames["u"].createOrReplaceTempView("mosaic_view_of_u")
    engine.session().udf.register("mosaic_twice", lambda value: value * 2, "bigint")
    build, known, unknown, reason = UNKNOWN[case]
    found, _ = lineage(stored, build)
    assert dict(found.known) == {name: uses(text) for name, text in known.items()}
    assert list(found.unknown) == unknown
    assert reason in (found.reason or "")


def test_a_frame_of_a_classic_session_is_unknown() -> None:
    class Classic:
        columns = ("a", "b")

    found = frame_lineage(Classic(), {})  # type: ignore[arg-type]
    assert (found.known, found.unknown) == ({}, ("a", "b"))
    assert "keeps its plan in the JVM" in (found.reason or "")
