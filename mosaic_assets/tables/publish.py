"""Publishing: the result of a transform becomes a table, its bad rows the table's quarantine."""

from collections.abc import Mapping, Sequence
from typing import Any

from mosaic_assets.tables.expectations import Rule, Sifted
from mosaic_assets.work import CheckOutcome, Made, Work, table_use

__all__ = ["checks_of", "publish", "quarantine_name"]


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
) -> Made:
    """Writes the good rows (and the quarantine) of the step's partitions and returns what was made.

    The quarantine is written first: a kill between the two leaves the table as it was, and the next run
    of the same partitions replaces both.

    Args:
        work: The step.
        table: Table to write.
        sifted: The rows.
        rules: The rules that sorted them.
        partition_by: Column that holds the partition's key.
        columns: Column lineage.
    """
    lake = work.seams.lake
    predicate = _predicate(partition_by, work.partitions)
    by = [partition_by] if partition_by else []
    # The transform is code: a column that it gained is wanted. Other partitions read as NULL there until they are run.
    how: dict[str, Any] = {"predicate": predicate, "partition_by": by, "evolve": True}
    held = any(rule.action == "expect_or_quarantine" for rule in rules)
    if held:
        name = quarantine_name(table)
        held_at = lake.write(name, sifted.quarantine, work.commit(name), **how)
        work.lineage.wrote(
            table_use(lake.uri(name), name, held_at, sifted.quarantine.schema, sifted.quarantine.num_rows)
        )
    version = lake.write(table, sifted.good, work.commit(table), **how)
    return Made(
        table=table,
        version=version,
        num_rows=lake.num_rows(table, version),
        schema=sifted.good.schema,
        columns=columns,
        preview=sifted.good,
        metadata={
            "rows_written": sifted.good.num_rows,
            "rows_quarantined": sifted.quarantine.num_rows if held else None,
            "partitions": ", ".join(work.partitions) or None,
        },
        checks=checks_of(rules, sifted, table),
    )


def checks_of(rules: Sequence[Rule], sifted: Sifted, table: str) -> list[CheckOutcome]:
    """Returns one check outcome for each rule, with the number of rows that violate it."""
    total = sifted.good.num_rows + sifted.quarantine.num_rows
    return [
        CheckOutcome(
            rule.name,
            passed=sifted.violations[rule.name] == 0,
            description=f"{rule.condition} ({rule.action})",
            metadata={"violations": sifted.violations[rule.name], "rows": total},
        )
        for rule in rules
    ]


def _predicate(partition_by: str | None, partitions: Sequence[str]) -> str | None:
    if not (partition_by and partitions):
        return None
    return f"{partition_by} in ({', '.join(repr(key) for key in partitions)})"
