"""``mosaic upkeep``: files compacted, old versions removed around what is pinned; what that keeps and frees."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mosaic_assets.cli.output import Output, OutputOption, RootOption, console, emit, errors, root_of

if TYPE_CHECKING:
    from mosaic_assets.upkeep.keep import TableReport

__all__ = ["upkeep"]


def upkeep(
    tables: Annotated[list[str] | None, typer.Argument(help="Tables, by key or pattern; default: all.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; show what would go and stay.")] = False,
    retention: Annotated[str, typer.Option(help="How long a file outlives the last version that needs it.")] = "7d",
    optimize: Annotated[bool, typer.Option(help="Compact small files.")] = True,
    vacuum: Annotated[bool, typer.Option(help="Remove old files.")] = True,
    ignore_missing: Annotated[
        bool, typer.Option("--ignore-missing-manifests", help="Go on where a model's manifest is not here.")
    ] = False,
    project: RootOption = Path(),
    output: OutputOption = Output.text,
) -> None:
    """Compact tables and remove old versions, but for those that a living manifest pins."""
    with errors(output):
        from mosaic_assets.features.declarations import duration
        from mosaic_assets.tables.listing import list_tables
        from mosaic_assets.upkeep.keep import Rules, as_rows, chosen, keep
        from mosaic_assets.upkeep.pins import pins_of
        from mosaic_resources.delta.commit import Commit
        from mosaic_resources.errors import UserError
        from mosaic_resources.seams import Seams

        seams = Seams.of(root_of(project))
        kept_for = duration(retention, "--retention")
        assert kept_for is not None
        rules = Rules(optimize=optimize, vacuum=vacuum, retention=kept_for)
        names = chosen(list_tables(seams.lake, seams.outbox), tables or ["*"])
        pins = pins_of(seams, kept_for, "ignore" if ignore_missing else "refuse")
        reports = list(keep(seams.lake, names, rules, pins, Commit("upkeep", asset="mosaic upkeep"), dry_run=dry_run))
        emit(as_rows(reports), output, lambda: _show(reports, dry_run))
        failed = [report for report in reports if report.problem]
        if failed and output is Output.text:
            raise UserError(f"{len(failed)} of {len(reports)} tables failed: {failed[0].problem}")
        if failed:
            raise typer.Exit(1)


def _show(reports: "list[TableReport]", dry_run: bool) -> None:
    from rich.table import Table

    from mosaic_assets.upkeep.keep import size

    table = Table("table", "live", "kept for pins", "would remove" if dry_run else "removed", "rewritten", box=None)
    for report in reports:
        plan = report.plan
        sizes = [size(plan.live_bytes), size(plan.kept_bytes), size(plan.removed_bytes)] if plan else ["", "", ""]
        table.add_row(report.table, *sizes, "yes" if report.rewritten else "")
    console.print(table if reports else "No table yet: run 'mosaic materialize'.")
    for report in reports:
        for version, who in report.plan.pinned.items() if report.plan else ():
            gone = " [red]Its files are gone.[/red]" if report.plan and version in report.plan.unreadable else ""
            console.print(f"{report.table} version {version} is kept for {', '.join(who)}.{gone}", soft_wrap=True)
