"""``mosaic materialize``: runs assets in this process."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mosaic_assets.cli.output import Output, OutputOption, RootOption, aside, console, emit, errors, root_of

if TYPE_CHECKING:
    from mosaic_resources.settings.settings import Settings

__all__ = ["materialize"]

LINEAGE_SECONDS = 5.0


def materialize(
    keys: Annotated[
        list[str] | None,
        typer.Argument(help="Asset keys, tables/flights; also tables/* or tables/flights+ (with all downstream)."),
    ] = None,
    partition: Annotated[str | None, typer.Option(help="Partition key, or first..last.")] = None,
    changed: Annotated[
        bool, typer.Option("--changed", help="What was declared anew since it was made, and all that stands on it.")
    ] = False,
    project: RootOption = Path(),
    output: OutputOption = Output.text,
) -> None:
    """Materialize assets in order, in this process, into the project's own Dagster instance."""
    with errors(output):
        from mosaic_assets.orchestration.pending import Pending
        from mosaic_assets.orchestration.run import instance_of, load_definitions
        from mosaic_assets.orchestration.run import materialize as run
        from mosaic_assets.orchestration.selection import changed_keys, never_made, partitioned_runs, select
        from mosaic_assets.orchestration.yaml_check import require_variables
        from mosaic_assets.work import COMPARISON, SET_ASIDE
        from mosaic_resources.errors import UserError
        from mosaic_resources.settings.settings import load_settings

        root = root_of(project)
        require_variables(root)
        settings, defs = load_settings(root), load_definitions(root)
        with instance_of(settings.state) as instance:
            pending = Pending(settings.state / "changed.json")
            chosen = changed_keys(defs, instance, pending.keys()) if changed else select(defs, keys or [])
            if changed:
                pending.set(chosen)
            if not chosen and not changed:
                raise UserError("No asset was named.", do="Name asset keys, or use --changed.")
            made = []
            try:
                for group, span in partitioned_runs(defs, chosen, partition, instance):
                    label = f"{', '.join(group)}" + (f" [{span[0]}..{span[1]}]" if span else "")
                    with console.status(label) if output is Output.text else errors(output):
                        result = run(defs, instance, group, partitions=span)
                    pending.done(group)
                    told, kept = _told(result, COMPARISON), _told(result, SET_ASIDE)
                    made.append(
                        {"assets": group, "partitions": span, "run_id": result.run_id, "comparisons": told,
                         "set_aside": kept}
                    )  # fmt: skip
                    if output is Output.text:
                        console.print(f"[green]made[/green] {label}")
                        for key, line in [*kept.items(), *told.items()]:
                            console.print(f"  [bold]{key}[/bold]: {line}", highlight=False, soft_wrap=True)
            finally:
                _send_lineage(settings)
            never = never_made(defs, instance) if changed else []
        emit(made, output, lambda: _close(made, never))


def _close(made: Sequence[object], never: Sequence[str]) -> None:
    console.print("Nothing has changed." if not made else "1 run." if len(made) == 1 else f"{len(made)} runs.")
    if never:
        console.print(f"Not made yet, name them to make them: {', '.join(never)}", soft_wrap=True)


def _send_lineage(settings: "Settings") -> None:
    """Sends what the steps said of themselves; what cannot be sent in time waits, and nothing fails for it."""
    from mosaic_assets.lineage.send import send_lineage

    try:
        trouble = send_lineage(settings, LINEAGE_SECONDS).problem
    except Exception as exc:  # Lineage alone fails softly.
        trouble = str(exc)
    if trouble:
        aside(f"Lineage waits in the outbox: {trouble}")


def _told(result: Any, name: str) -> dict[str, str]:
    """Returns asset → the text that it keeps under one name of its metadata, of those that a run made with it."""
    made = [event.materialization for event in result.get_asset_materialization_events()]
    return {one.asset_key.to_user_string(): str(one.metadata[name].value) for one in made if name in one.metadata}
