"""Where an endpoint finds things: read once from the environment when it starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mosaic_resources.errors import UserError

__all__ = ["Environment", "read_environment"]


@dataclass(frozen=True)
class Environment:
    """Addresses of one endpoint process.

    Args:
        bento: Folder of the Bento that this process was started from.
        active: ``active.json`` that names the Bento to serve, polled; None: always ``bento``.
        online: Address of the online store; None where the service looks nothing up.
        spool: Folder of the inference log.
        simulated_clock: Whether the header ``x-mosaic-time`` is the request's time.
        sync_each: Whether each logged record is synced to the disk before the answer leaves.
    """

    bento: Path
    active: Path | None
    online: str | None
    spool: Path
    simulated_clock: bool
    sync_each: bool


def read_environment(environ: Mapping[str, str], bento: Path) -> Environment:
    """Returns the addresses that ``MOSAIC_*`` variables give.

    Args:
        environ: ``MOSAIC_SPOOL`` (required), ``MOSAIC_ONLINE``, ``MOSAIC_ACTIVE``, ``MOSAIC_CLOCK`` (``wall`` or
            ``simulated``), ``MOSAIC_SPOOL_SYNC`` (``background`` or ``each``).
        bento: Folder of this Bento.

    Raises:
        UserError: The spool is not named, or a value is unknown.
    """
    if not environ.get("MOSAIC_SPOOL"):
        raise UserError("MOSAIC_SPOOL is not set.", do="Name a folder on a local disk for the inference log.")
    return Environment(
        bento=bento,
        active=Path(environ["MOSAIC_ACTIVE"]) if environ.get("MOSAIC_ACTIVE") else None,
        online=environ.get("MOSAIC_ONLINE") or None,
        spool=Path(environ["MOSAIC_SPOOL"]),
        simulated_clock=_choice(environ, "MOSAIC_CLOCK", ("wall", "simulated")) == "simulated",
        sync_each=_choice(environ, "MOSAIC_SPOOL_SYNC", ("background", "each")) == "each",
    )


def _choice(environ: Mapping[str, str], name: str, known: tuple[str, str]) -> str:
    value = environ.get(name) or known[0]
    if value not in known:
        raise UserError(f"{name} is '{value}'.", do=f"Known: {', '.join(known)}.")
    return value
