"""The quarantine: what waits there and why, and the way back into the table, each row once."""

import json
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.tables.expectations import Rule, mark
from mosaic_assets.tables.publish import quarantine_name
from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.lake import Lake
from mosaic_resources.delta.locks import table_lock
from mosaic_resources.errors import UserError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["Released", "chosen", "quarantined", "release", "summary"]

RULES, RELEASE, ROW, CHOSEN = "_rules", "_release", "__mosaic_row", "__mosaic_chosen"
SUFFIX = quarantine_name("")


@dataclass(frozen=True)
class Released:
    """What a release did.

    Args:
        num_rows: Rows that are in the table now.
        num_left: Chosen rows that still violate a rule and wait on.
        partitions: Partitions that gained rows.
        version: Version of the table now.
    """

    num_rows: int
    num_left: int
    partitions: Sequence[str]
    version: int


def quarantined(lake: Lake, table: str) -> pa.Table:
    """Returns the rows that are held back from a table.

    Raises:
        UserError: The table has no quarantine.
    """
    name = quarantine_name(table)
    if not lake.exists(name):
        raise UserError(f"Table '{table}' has no quarantine.", lake.root, "It comes with expect_or_quarantine.")
    return lake.read(name)


def summary(lake: Lake, tables: Sequence[str], partition_of: dict[str, str]) -> list[dict[str, object]]:
    """Returns one entry for each table, partition and rule with the number of rows that wait.

    Args:
        lake: The lake.
        tables: All tables of it.
        partition_of: Table → column that holds its partition key.
    """
    found: list[dict[str, object]] = []
    for table in (name.removesuffix(SUFFIX) for name in tables if name.endswith(SUFFIX)):
        rows, by = quarantined(lake, table), partition_of.get(table)
        keys = rows[by].to_pylist() if by in rows.column_names else [None] * rows.num_rows
        counts = Counter(
            (key, rule) for key, text in zip(keys, rows[RULES].to_pylist(), strict=True) for rule in json.loads(text)
        )
        ordered = sorted(counts.items(), key=lambda item: tuple(map(str, item[0])))
        found += [{"table": table, "partition": key, "rule": rule, "rows": n} for (key, rule), n in ordered]
    return found


def chosen(session: "SparkSession | None", rows: pa.Table, where: str | None, key: tuple[str, str] | None) -> pa.Table:
    """Returns the rows of a partition that satisfy a condition, in their order.

    Args:
        session: Engine session; needed with ``where`` alone.
        rows: Rows of a quarantine.
        where: SQL condition over their columns; None: all.
        key: Column and value of the partition; None: all.
    """
    return rows.filter(_choice(session, rows, where, key))


def release(
    lake: Lake,
    session: "SparkSession",
    table: str,
    rules: Sequence[Rule],
    commit: Commit,
    *,
    partition_by: str | None = None,
    partition: str | None = None,
    where: str | None = None,
) -> Released:
    """Puts rows that the rules of today let through into the table, each exactly once.

    The rows are marked in the quarantine, appended in a commit that is made once for the mark, then taken out of the
    quarantine. Where a release was killed between, the next one completes it first.

    Args:
        lake: The lake.
        session: Engine session, which evaluates the rules.
        table: Table.
        rules: Its rules as they are declared now.
        commit: Who commits.
        partition_by: Column that holds the table's partition key.
        partition: Only rows of this partition.
        where: Only rows that satisfy this SQL condition.

    Raises:
        UserError: The table has no quarantine, or the condition or a rule is no SQL over its rows.
    """
    with table_lock(lake.root, table, "rows"):
        before = _complete(lake, table, commit)
        rows = quarantined(lake, table)
        if partition is not None and partition_by is None:
            raise UserError(f"Table '{table}' has no partitions.", lake.root, "Leave --partition out.")
        key = None if partition is None or partition_by is None else (partition_by, partition)
        choice = _choice(session, rows, where, key)
        good = pc.and_(choice, _good(session, rows, rules))
        if pc.any(good).as_py():
            _mark(lake, table, rows, good, commit)
        done = [*before, *_complete(lake, table, commit)]
        keys = {str(value) for part in done if partition_by for value in part[partition_by].unique().to_pylist()}
        num_left = int(pc.sum(pc.and_(choice, pc.invert(good))).as_py() or 0)
        return Released(sum(part.num_rows for part in done), num_left, sorted(keys), lake.open(table).version())


def _choice(session: "SparkSession | None", rows: pa.Table, where: str | None, key: tuple[str, str] | None) -> pa.Array:
    """Returns (num_rows,) bool: whether a row is in the partition and satisfies the condition."""
    choice = pa.array([True] * rows.num_rows, pa.bool_())
    if key is not None:
        choice = pc.fill_null(pc.equal(pc.cast(rows[key[0]], pa.string()), key[1]), False)
    if where is not None and session is not None and rows.num_rows:
        asked = [f"coalesce(cast(({where}) as boolean), false) as {CHOSEN}"]
        choice = pc.and_(choice, _evaluated(session, rows, asked)[CHOSEN])
    return choice.combine_chunks() if isinstance(choice, pa.ChunkedArray) else choice


def _good(session: "SparkSession", rows: pa.Table, rules: Sequence[Rule]) -> pa.Array:
    """Returns (num_rows,) bool: whether a row violates none of the rules that keep a row out."""
    strict = [rule for rule in rules if rule.action != "expect"]
    good = pa.array([True] * rows.num_rows, pa.bool_())
    if not strict or not rows.num_rows:
        return good
    frame = mark(_frame(session, rows), strict)
    marks = [name for name in frame.columns if name not in (*rows.column_names, ROW)]
    told = frame.select(ROW, *marks).toArrow().sort_by(ROW)
    for name in marks:
        good = pc.and_(good, told[name])
    return good.combine_chunks() if isinstance(good, pa.ChunkedArray) else good


def _evaluated(session: "SparkSession", rows: pa.Table, expressions: Sequence[str]) -> pa.Table:
    return _frame(session, rows).selectExpr(ROW, *expressions).toArrow().sort_by(ROW)


def _frame(session: "SparkSession", rows: pa.Table):  # type: ignore[no-untyped-def]
    # The values themselves never come back from the engine: only the row's number and the verdicts do.
    return session.createDataFrame(rows.append_column(ROW, pa.array(range(rows.num_rows), pa.int64())))


def _mark(lake: Lake, table: str, rows: pa.Table, good: pa.Array, commit: Commit) -> None:
    mark_id = pa.scalar(uuid.uuid4().hex, pa.string())
    marks = pc.if_else(good, mark_id, pa.scalar(None, pa.string()))
    kept = rows.drop_columns([RELEASE]) if RELEASE in rows.column_names else rows
    lake.write(quarantine_name(table), kept.append_column(RELEASE, marks), _named(commit, quarantine_name(table)))


def _complete(lake: Lake, table: str, commit: Commit) -> list[pa.Table]:
    """Moves what is marked, and returns it; after a kill the append is known by its mark."""
    name = quarantine_name(table)
    rows = quarantined(lake, table)
    marks = rows[RELEASE].drop_null().unique().to_pylist() if RELEASE in rows.column_names else []
    moved = []
    for mark_id in marks:
        marked = rows.filter(pc.fill_null(pc.equal(rows[RELEASE], mark_id), False))
        moved.append(_conformed(marked, lake.schema(table)))
        lake.write(table, moved[-1], _named(commit, f"release/{mark_id}", 1), mode="append")
        lake.write(name, marked.slice(0, 0), _named(commit, name), predicate=f"{RELEASE} = '{mark_id}'")
    return moved


def _conformed(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Returns the rows with the table's columns alone; one that came later is NULL."""
    columns = [
        rows[field.name] if field.name in rows.column_names else pa.nulls(rows.num_rows, field.type) for field in schema
    ]
    return pa.table(dict(zip(schema.names, columns, strict=True)))


def _named(commit: Commit, app: str, version: int | None = None) -> Commit:
    return Commit(app, version, commit.run_id, commit.asset, commit.partition, commit.code_version)
