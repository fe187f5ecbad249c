"""``mosaic quarantine``: what expectations held back, and the way back into the table after a fix."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mosaic_assets.cli.output import Output, OutputOption, RootOption, console, emit, errors, root_of

__all__ = ["quarantine"]

quarantine = typer.Typer(
    name="quarantine", help="What expectations held back, and the way back into the table.", no_args_is_help=True
)
TableArgument = Annotated[str, typer.Argument(help="Table, tables/flights.")]
PartitionOption = Annotated[str | None, typer.Option(help="Only rows of this partition.")]
WhereOption = Annotated[str | None, typer.Option(help="Only rows that satisfy this SQL condition.")]


@quarantine.command("list")
def list_(project: RootOption = Path(), output: OutputOption = Output.text) -> None:
    """Show how many rows wait, by table, partition and rule."""
    with errors(output):
        from mosaic_assets.orchestration.declared_rules import declared_tables
        from mosaic_assets.orchestration.run import load_definitions
        from mosaic_assets.tables.listing import list_tables
        from mosaic_assets.tables.quarantine import summary
        from mosaic_resources.seams import Seams

        root = root_of(project)
        seams = Seams.of(root)
        by = {table: one.partition_by for table, one in declared_tables(load_definitions(root)).items()}
        found = summary(
            seams.lake, list_tables(seams.lake, seams.outbox), {name: column for name, column in by.items() if column}
        )
        emit(found, output, lambda: _table(found, "Nothing waits."))


@quarantine.command()
def show(
    table: TableArgument,
    partition: PartitionOption = None,
    where: WhereOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows at most.")] = 20,
    project: RootOption = Path(),
    output: OutputOption = Output.text,
) -> None:
    """Show rows that wait: all columns, the rules that they violate, the landed file where it is known."""
    with errors(output):
        from mosaic_assets.orchestration.declared_rules import find_table
        from mosaic_assets.orchestration.run import load_definitions
        from mosaic_assets.tables.quarantine import chosen, quarantined
        from mosaic_resources.engine.session import engine_errors
        from mosaic_resources.errors import UserError
        from mosaic_resources.seams import Seams

        root = root_of(project)
        seams = Seams.of(root)
        by = find_table(load_definitions(root), table).partition_by
        if partition is not None and by is None:
            raise UserError(f"Table '{table}' has no partitions.", do="Leave --partition out.")
        with engine_errors(seams.settings.engine, "--where"):
            session = seams.engine.session() if where else None
            key = (by, partition) if by and partition else None
            rows = chosen(session, quarantined(seams.lake, table), where, key).slice(0, limit).to_pylist()
        emit(rows, output, lambda: _table(rows, "Nothing waits."))


@quarantine.command()
def release(
    table: TableArgument,
    partition: PartitionOption = None,
    where: WhereOption = None,
    project: RootOption = Path(),
    output: OutputOption = Output.text,
) -> None:
    """Put rows that the rules of today let through into the table, each once; the others wait on."""
    with errors(output):
        from dataclasses import asdict

        from mosaic_assets.orchestration.declared_rules import find_table
        from mosaic_assets.orchestration.run import instance_of, load_definitions, report_rows
        from mosaic_assets.tables.quarantine import release as release_rows
        from mosaic_resources.delta.commit import Commit
        from mosaic_resources.engine.session import engine_errors
        from mosaic_resources.seams import Seams

        root = root_of(project)
        seams = Seams.of(root)
        declared = find_table(load_definitions(root), table)
        with engine_errors(seams.settings.engine, table):
            done = release_rows(
                seams.lake, seams.engine.session(), table, declared.rules, Commit("release", asset=table),
                partition_by=declared.partition_by, partition=partition, where=where,
            )  # fmt: skip
        if done.num_rows:
            with instance_of(seams.settings.state) as instance:
                report_rows(instance, table, done.version, done.num_rows, done.partitions)
        emit(asdict(done), output, lambda: _released(done))


def _released(done: Any) -> None:
    console.print(f"{done.num_rows} rows released; {done.num_left} still violate a rule and wait on.")


def _table(rows: list[dict[str, Any]], empty: str) -> None:
    from rich.markup import escape
    from rich.table import Table

    if not rows:
        console.print(empty)
        return
    table = Table(*rows[0], box=None)
    for row in rows:
        table.add_row(*(escape(str(value)) for value in row.values()))
    console.print(table)
