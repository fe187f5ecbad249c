"""Upkeep of the tables of a lake, one after the other, and the account of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatch

from mosaic_assets.upkeep.pins import Pins
from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.lake import Lake
from mosaic_resources.delta.rewrite import optimize
from mosaic_resources.delta.vacuum import VacuumPlan, plan_vacuum, vacuum
from mosaic_resources.errors import MosaicError, UnknownNameError

__all__ = ["Rules", "TableReport", "as_markdown", "as_rows", "chosen", "keep", "size"]


@dataclass(frozen=True)
class Rules:
    """What upkeep does.

    Args:
        optimize: Whether small files are compacted.
        cluster_by: Table → columns to cluster by, instead of compacting.
        target_file_bytes: Size of a file to aim at; None: the table's own.
        vacuum: Whether old files are removed.
        retention: How long a file outlives the last version that needs it.
    """

    optimize: bool = True
    cluster_by: Mapping[str, Sequence[str]] = field(default_factory=dict)
    target_file_bytes: int | None = None
    vacuum: bool = True
    retention: timedelta = timedelta(days=7)


@dataclass(frozen=True)
class TableReport:
    """What was done to one table, or would be.

    Args:
        table: Table.
        rewritten: Whether files were rewritten; None on a dry run.
        plan: What the vacuum removed and kept.
        problem: Why it could not be done.
    """

    table: str
    rewritten: bool | None = None
    plan: VacuumPlan | None = None
    problem: str | None = None


def chosen(tables: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Returns the tables that match one of the patterns (``features/*``), in order.

    Raises:
        UnknownNameError: A name without a wildcard is no table.
    """
    for pattern in patterns:
        if "*" not in pattern and pattern not in tables:
            raise UnknownNameError("table", pattern, tables)
    return [table for table in tables if any(fnmatch(table, pattern) for pattern in patterns)]


def keep(
    lake: Lake, tables: Sequence[str], rules: Rules, pins: Pins, commit: Commit, *, dry_run: bool = False
) -> Iterator[TableReport]:
    """Yields a report for each table; what goes wrong with one does not keep the others from their upkeep."""
    for table in tables:
        try:
            yield _keep_one(lake, table, rules, pins, commit, dry_run)
        except MosaicError as exc:
            yield TableReport(table, problem=str(exc))


def _keep_one(lake: Lake, table: str, rules: Rules, pins: Pins, commit: Commit, dry_run: bool) -> TableReport:
    if dry_run:
        return TableReport(table, plan=plan_vacuum(lake, table, rules.retention, pins.of(table)))
    by = rules.cluster_by.get(table, ())
    rewritten = optimize(lake, table, commit, by, rules.target_file_bytes) if rules.optimize or by else False
    plan = vacuum(lake, table, commit, rules.retention, pins.of(table)) if rules.vacuum else None
    return TableReport(table, rewritten, plan)


def as_rows(reports: Sequence[TableReport]) -> list[dict[str, object]]:
    """Returns the account as plain values."""
    return [
        {
            "table": report.table,
            "rewritten": report.rewritten,
            **(_plan(report.plan) if report.plan else {}),
            **({"problem": report.problem} if report.problem else {}),
        }
        for report in reports
    ]


def as_markdown(reports: Sequence[TableReport]) -> str:
    """Returns the account for people: one line for each table, then who keeps what."""
    lines = ["| table | rewritten | live | kept for pins | removed |", "|---|---|---|---|---|"]
    notes = []
    for report in reports:
        plan = report.plan
        told = [size(plan.live_bytes), size(plan.kept_bytes), size(plan.removed_bytes)] if plan else ["", "", ""]
        lines.append(f"| {report.table} | {'yes' if report.rewritten else ''} | {' | '.join(told)} |")
        notes += [f"- {report.table}: {report.problem}"] if report.problem else []
        for version, who in plan.pinned.items() if plan else ():
            gone = " **Its files are gone.**" if plan and version in plan.unreadable else ""
            notes.append(f"- {report.table} version {version} is kept for {', '.join(who)}.{gone}")
    return "\n".join([*lines, "", *notes])


def size(num_bytes: int) -> str:
    """Returns a size for people.

    Example:
        >>> size(0), size(1536), size(3_000_000)
        ('0 B', '1.5 KiB', '2.9 MiB')
    """
    amount, units = float(num_bytes), ["B", "KiB", "MiB", "GiB", "TiB"]
    while amount >= 1024 and len(units) > 1:
        amount, units = amount / 1024, units[1:]
    return f"{amount:.0f} {units[0]}" if units[0] == "B" else f"{amount:.1f} {units[0]}"


def _plan(plan: VacuumPlan) -> dict[str, object]:
    return {
        "version": plan.version,
        "live_bytes": plan.live_bytes,
        "kept_bytes": plan.kept_bytes,
        "removed_bytes": plan.removed_bytes,
        "removed_files": len(plan.removed),
        "pinned": {str(version): list(who) for version, who in plan.pinned.items()},
        "unreadable": list(plan.unreadable),
    }
