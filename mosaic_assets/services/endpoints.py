"""Endpoints of services that have been built, found in the state folder."""

import json
from pathlib import Path

from mosaic_resources.bentos.build import BuiltBento
from mosaic_resources.bentos.process import Endpoint, endpoint_folder, start
from mosaic_resources.errors import UnknownNameError, UserError
from mosaic_resources.settings.clock import is_simulated
from mosaic_resources.settings.settings import Settings

__all__ = ["active_bento", "built_services", "start_built", "the_service"]


def built_services(state: Path) -> list[str]:
    """Returns the services that have an active Bento."""
    return sorted(file.parent.name for file in (state / "endpoint").glob("*/active.json"))


def the_service(state: Path, name: str | None) -> str:
    """Returns ``name``, or the only service that is built.

    Raises:
        UserError: None is built, or several are and none is named.
        UnknownNameError: The named one is not built.
    """
    built = built_services(state)
    if name is not None:
        if name not in built:
            raise UnknownNameError("service", name, built)
        return name
    if len(built) != 1:
        what = "No service is built." if not built else f"Several services are built: {', '.join(built)}."
        raise UserError(what, do="Materialize services/<name> first." if not built else "Name one.")
    return built[0]


def active_bento(state: Path, service: str) -> BuiltBento:
    """Returns the Bento that a service answers with."""
    folder = endpoint_folder(state, service)
    active = json.loads((folder / "active.json").read_text())
    return BuiltBento(tag=active["bento_tag"], path=(folder / active["path"]).resolve())


def start_built(
    settings: Settings,
    service: str,
    *,
    port: int | None = None,
    simulated_clock: bool | None = None,
    with_parent: bool = False,
) -> Endpoint:
    """Returns the running endpoint of a built service; starts it where it does not run.

    Args:
        settings: The target.
        service: Name of the service.
        port: Port on loopback; None: the one that the service had last; 0: a free one.
        simulated_clock: Whether a request's header tells its time; None: where the project's clock is simulated.
        with_parent: Whether it ends where this process dies.
    """
    return start(
        active_bento(settings.state, service),
        state=settings.state,
        service=service,
        online=settings.online,
        spool=settings.spool,
        port=port,
        simulated_clock=is_simulated(settings.state) if simulated_clock is None else simulated_clock,
        with_parent=with_parent,
    )
