"""``mosaic status``: what there is now: tables, models, endpoints, open incidents, lineage that waits."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosaic_assets.cli.disk import disk_text, disk_use
from mosaic_assets.cli.output import Output, OutputOption, RootOption, console, emit, errors, root_of

if TYPE_CHECKING:
    from mosaic_resources.seams import Seams

__all__ = ["collect", "status"]


def status(project: RootOption = Path(), output: OutputOption = Output.text) -> None:
    """Show tables, models with aliases and metrics, endpoints, open incidents, and lineage events that wait."""
    with errors(output):
        from mosaic_resources.seams import Seams

        state = collect(Seams.of(root_of(project)))
        emit(state, output, lambda: _show(state))


def collect(seams: "Seams") -> dict[str, Any]:
    """Returns the state of a project as plain values."""
    from mosaic_assets.models.listing import list_models
    from mosaic_assets.monitors.listing import open_incidents
    from mosaic_assets.services.endpoints import active_bento, built_services
    from mosaic_assets.tables.listing import list_tables
    from mosaic_resources.bentos.process import adopt
    from mosaic_resources.settings.clock import is_simulated, now_utc

    settings, lake, outbox = seams.settings, seams.lake, seams.outbox
    names = list_tables(lake, outbox)
    models, models_problem = list_models(seams.registry)
    endpoints = {service: adopt(settings.state, service) for service in built_services(settings.state)}
    return {
        "project": str(settings.project_root),
        "target": settings.target,
        "engine": settings.engine,
        "simulated_now_utc": now_utc(settings.state).isoformat() if is_simulated(settings.state) else None,
        "lake": settings.lake,
        "state": str(settings.state),
        "state_bytes": disk_use(settings.state),
        "tables": [{"table": name, "version": lake.version(name), "rows": lake.num_rows(name)} for name in names],
        "models": models,
        "models_problem": models_problem,
        "endpoints": [
            {
                "service": service,
                "running": endpoint is not None,
                "bento_tag": active_bento(settings.state, service).tag,
                **({"url": endpoint.url, **endpoint.model_dump()} if endpoint else {}),
            }
            for service, endpoint in endpoints.items()
        ],
        "incidents": open_incidents(lake),
        "lineage": {
            "waiting": outbox.backlog() if outbox.exists else 0,
            "goes_to": settings.openlineage_url or str(settings.state / "openlineage.jsonl"),
        },
    }


def _show(state: dict[str, Any]) -> None:
    from rich.table import Column, Table

    console.print(
        f"[bold]{state['project']}[/bold], target {state['target']}, engine {state['engine']}", soft_wrap=True
    )
    if state["simulated_now_utc"]:
        console.print(f"clock: {state['simulated_now_utc']}, simulated ('mosaic clock')", highlight=False)
    tables = Table(*(Column(name, overflow="fold") for name in ("table", "version", "rows")), box=None)
    for row in state["tables"]:
        tables.add_row(row["table"], str(row["version"]), f"{row['rows']:,}")
    console.print(tables if state["tables"] else "No table yet: run 'mosaic materialize'.")
    _show_models(state)
    for one in state["endpoints"]:
        where = (
            f"answers at {one['url']} with model version {one['model_version']}"
            if one["running"]
            else f"does not run; its Bento is {one['bento_tag']}"
        )
        console.print(f"endpoint [bold]{one['service']}[/bold] {where}", soft_wrap=True)
    for one in state["incidents"]:
        console.print(
            f"[red]incident[/red] [bold]{one['incident']}[/bold] {one['state']} since {one['since']}, "
            f"last evaluated {one['evaluated']}, {_decided(one['decision'])}",
            soft_wrap=True,
        )
    console.print(disk_text(state["state"], state["state_bytes"]), soft_wrap=True)
    waiting = state["lineage"]["waiting"]
    console.print(
        f"lineage: {waiting} {'row waits' if waiting == 1 else 'rows wait'} for {state['lineage']['goes_to']}",
        soft_wrap=True,
    )


def _show_models(state: dict[str, Any]) -> None:
    from rich.table import Column, Table

    if state["models_problem"]:
        console.print(f"models: {state['models_problem']}", markup=False, soft_wrap=True)
    if not state["models"]:
        return
    names = ("model", "version", "aliases", "metric", "decision")
    models = Table(*(Column(name, overflow="fold") for name in names), box=None)
    for one in state["models"]:
        decision = f"{one['decision']} at {one['decided_at'][:10]}" if one["decision"] else ""
        models.add_row(one["model"], one["version"], ", ".join(one["aliases"]), _metric(one), decision)
    console.print(models)


def _metric(model: dict[str, Any]) -> str:
    """Returns the figure that a version is known by; one that was retrained is measured by the decision on it."""
    metrics = model["metrics"]
    name = "roc_auc" if "roc_auc" in metrics else min(metrics, default=None)
    return "not measured" if name is None else f"{name} {metrics[name]:.4f}"


def _decided(decision: dict[str, Any] | None) -> str:
    if decision is None:
        return "no decision yet"
    sides = f"champion {decision['champion']}, challenger {decision['challenger']}"
    return f"last decision {decision['verdict']} at {decision['at']} ({sides}: {'; '.join(decision['reasons'])})"
