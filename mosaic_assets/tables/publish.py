"""Publishing: the result of a transform becomes a table, its bad rows the table's quarantine."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from mosaic_assets.tables.expectations import QUARANTINED_SHARE, Found, Rule, Sifted
from mosaic_assets.work import BlockedError, CheckOutcome, Made, Work, set_aside, table_use
from mosaic_resources.delta.locks import table_lock
from mosaic_resources.verdicts.store import Refusal

__all__ = ["SOURCE_COLUMNS", "checks_of", "publish", "quarantine_name"]

# Where a row came from, as ingest tells; a query keeps it by selecting it.
SOURCE_COLUMNS = {"_source_file": pa.string(), "_source_row": pa.int64()}


def quarantine_name(table: str) -> str:
    """Returns the table that holds the rows held back from ``table``."""
    return f"{table}__quarantine"


def publish(
    work: Work,
    table: str,
    sifted: Sifted,
    rules: Sequence[Rule],
    *,
    partition_by: str | None = None,
    columns: Mapping[str, Sequence[tuple[str, str]]] | None = None,
    max_quarantined_share: float | None = None,
) -> Made:
    """Writes the good rows (and the quarantine) of the step's partitions and returns what was made.

    A partition that a blocking check refused stays as it was, and readers of it are refused until an attempt succeeds.
    The quarantine is written first: a kill between the two leaves the table as it was, and the next run of the same
    partitions replaces both.

    Args:
        work: The step.
        table: Table to write.
        sifted: The rows.
        rules: The rules that sorted them.
        partition_by: Column that holds the partition's key.
        columns: Column lineage.
        max_quarantined_share: The limit that ``sifted`` was made with.

    Raises:
        BlockedError: Partitions were refused; the others are published.
    """
    checks = checks_of(rules, sifted, max_quarantined_share)
    blocked = [one for one in sifted.found if one.blocked_by]
    if blocked:  # Before anything is published: a kill must not leave a failure untold.
        work.seams.verdicts.failed([_refusal(work, table, one) for one in blocked])
    keys = [one.partition for one in sifted.found if one.partition is not None and not one.blocked_by]
    if len(blocked) == len(sifted.found):
        raise _error(work, blocked, checks, None, keys)
    made = _write(work, table, sifted, rules, keys, partition_by, columns, checks)
    work.seams.verdicts.passed(table, keys)
    if blocked:
        raise _error(work, blocked, checks, made, keys)
    return made


def checks_of(rules: Sequence[Rule], sifted: Sifted, max_quarantined_share: float | None = None) -> list[CheckOutcome]:
    """Returns one check outcome for each rule and partition, with the number of rows that violate it."""
    outcomes = [
        CheckOutcome(
            rule.name,
            passed=one.violations[rule.name] == 0,
            description=f"{rule.condition} ({rule.action})",
            metadata={"violations": one.violations[rule.name], "rows": one.num_rows},
            blocking=rule.action == "expect_or_fail",
            partition=one.partition,
        )
        for one in sifted.found
        for rule in rules
    ]
    if max_quarantined_share is not None:
        outcomes += [
            CheckOutcome(
                QUARANTINED_SHARE,
                passed=one.num_held <= max_quarantined_share * one.num_rows,
                description=f"At most {max_quarantined_share:.2%} of the rows are held back.",
                metadata={"quarantined": one.num_held, "rows": one.num_rows, "limit": max_quarantined_share},
                blocking=True,
                partition=one.partition,
            )
            for one in sifted.found
        ]
    return outcomes


def _write(
    work: Work,
    table: str,
    sifted: Sifted,
    rules: Sequence[Rule],
    keys: Sequence[str],
    partition_by: str | None,
    columns: Mapping[str, Sequence[tuple[str, str]]] | None,
    checks: Sequence[CheckOutcome],
) -> Made:
    lake = work.seams.lake
    by = [partition_by] if partition_by else []
    # The transform is code: a column that it gained is wanted. Other partitions read as NULL there until they are run.
    how: dict[str, Any] = {"predicate": _predicate(partition_by, keys), "partition_by": by, "evolve": True}
    held = any(rule.action == "expect_or_quarantine" for rule in rules)
    lost = [name for name in SOURCE_COLUMNS if name not in sifted.quarantine.column_names]
    with table_lock(lake.root, table, "rows"):  # No row is released into a table that is just written.
        if held:
            name, rows = quarantine_name(table), _with_source(sifted.quarantine)
            held_at = lake.write(name, rows, work.commit(name), **how)
            work.lineage.wrote(table_use(lake.uri(name), name, held_at, rows.schema, rows.num_rows))
        version = lake.write(table, sifted.good, work.commit(table), **how)
    num_held = sifted.quarantine.num_rows if held else 0
    return Made(
        table=table,
        version=version,
        num_rows=lake.num_rows(table, version),
        schema=sifted.good.schema,
        columns=columns,
        preview=sifted.good,
        metadata={
            "rows_written": sifted.good.num_rows,
            "rows_quarantined": num_held if held else None,
            **set_aside(num_held, sifted.good.num_rows + num_held, "break a rule", quarantine_name(table)),
            "quarantine_source": f"Unknown: the transform does not keep {', '.join(lost)}." if held and lost else None,
            "partitions": ", ".join(keys) or None,
        },
        checks=checks,
    )


def _with_source(rows: pa.Table) -> pa.Table:
    for name, kind in SOURCE_COLUMNS.items():
        if name not in rows.column_names:
            rows = rows.append_column(name, pa.nulls(rows.num_rows, kind))
    return rows


def _refusal(work: Work, table: str, one: Found) -> Refusal:
    key, version = one.partition or "", work.seams.lake.version(table)
    return Refusal(
        table, key, one.blocked_by or "", one.reason, work.run_id, work.now_utc,
        -1 if version is None else version, work.partition_windows.get(key),
    )  # fmt: skip


def _error(
    work: Work, blocked: Sequence[Found], checks: Sequence[CheckOutcome], made: Made | None, keys: Sequence[str]
) -> BlockedError:
    also = [str(one.partition) for one in blocked[1:]]
    more = f" Partitions {', '.join(also)} failed too." if also else ""
    rest = f" Published: {', '.join(keys)}." if keys else " Nothing was published."
    return BlockedError(f"{blocked[0].reason}{more}{rest}", work.asset, checks, made, keys)


def _predicate(partition_by: str | None, partitions: Sequence[str]) -> str | None:
    if not (partition_by and partitions):
        return None
    return f"{partition_by} in ({', '.join(repr(key) for key in partitions)})"
