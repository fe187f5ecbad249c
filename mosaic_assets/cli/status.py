"""``mosaic status``: what there is now: tables, endpoints, open incidents, lineage that waits."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosaic_assets.cli.disk import disk_text, disk_use
from mosaic_assets.cli.output import Output, OutputOption, RootOption, console, emit, errors, root_of

if TYPE_CHECKING:
    from mosaic_resources.seams import Seams

__all__ = ["collect", "status"]


def status(project: RootOption = Path(), output: OutputOption = Output.text) -> None:
    """Show tables with versions and rows, endpoints, open incidents, and lineage events that wait."""
    with errors(output):
        from mosaic_resources.seams import Seams

        state = collect(Seams.of(root_of(project)))
        emit(state, output, lambda: _show(state))


def collect(seams: "Seams") -> dict[str, Any]:
    """Returns the state of a project as plain values."""
    from mosaic_assets.services.endpoints import built_services
    from mosaic_assets.tables.listing import list_tables
    from mosaic_resources.bentos.process import adopt
    from mosaic_resources.settings.clock import is_simulated, now_utc

    settings, lake, outbox = seams.settings, seams.lake, seams.outbox
    names = list_tables(lake, outbox)
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
        "endpoints": [
            {
                "service": service,
                "running": endpoint is not None,
                **({"url": endpoint.url, **endpoint.model_dump()} if endpoint else {}),
            }
            for service, endpoint in endpoints.items()
        ],
        "incidents": _open_incidents(seams) if "monitors/incidents" in names else [],
        "lineage": {
            "waiting": outbox.backlog() if outbox.exists else 0,
            "goes_to": settings.openlineage_url or str(settings.state / "openlineage.jsonl"),
        },
    }


def _open_incidents(seams: "Seams") -> list[dict[str, Any]]:
    from mosaic_assets.monitors.incident_log import INCIDENTS, read_events
    from mosaic_assets.monitors.incidents import Event, current, is_open

    def at(log: "Sequence[Event]", incident: Event, *kinds: str) -> str | None:
        found = [one.at_utc for one in log if one.key == incident.key and one.kind in kinds]
        return max(found).isoformat() if found else None

    monitors = seams.lake.read(INCIDENTS, columns=["monitor"])["monitor"].unique().to_pylist()
    logs = {monitor: read_events(seams.lake, monitor) for monitor in sorted(monitors)}
    return [
        {"incident": event.name, "monitor": monitor, "state": event.state, "severity": event.severity,
         "since": at(log, event, "opened"), "evaluated": at(log, event, "observed", "opened"), "score": event.score}
        for monitor, log in logs.items()
        for event in current(log).values()
        if is_open(event)
    ]  # fmt: skip


def _show(state: dict[str, Any]) -> None:
    from rich.table import Table

    console.print(
        f"[bold]{state['project']}[/bold], target {state['target']}, engine {state['engine']}", soft_wrap=True
    )
    if state["simulated_now_utc"]:
        console.print(f"clock: {state['simulated_now_utc']}, simulated ('mosaic clock')", highlight=False)
    tables = Table("table", "version", "rows", box=None)
    for row in state["tables"]:
        tables.add_row(row["table"], str(row["version"]), f"{row['rows']:,}")
    console.print(tables if state["tables"] else "No table yet: run 'mosaic materialize'.")
    for one in state["endpoints"]:
        where = (
            f"answers at {one['url']} with model version {one['model_version']}" if one["running"] else "does not run"
        )
        console.print(f"endpoint [bold]{one['service']}[/bold] {where}", soft_wrap=True)
    for one in state["incidents"]:
        console.print(
            f"[red]incident[/red] [bold]{one['incident']}[/bold] {one['state']} since {one['since']}, "
            f"last evaluated {one['evaluated']}",
            soft_wrap=True,
        )
    console.print(disk_text(state["state"], state["state_bytes"]), soft_wrap=True)
    waiting = state["lineage"]["waiting"]
    console.print(
        f"lineage: {waiting} {'row waits' if waiting == 1 else 'rows wait'} for {state['lineage']['goes_to']}",
        soft_wrap=True,
    )
