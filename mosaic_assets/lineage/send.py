"""Sends what the outbox holds as OpenLineage events; called by sensors and commands, never by a step."""

from mosaic_resources.outbox.drain import DrainReport, drain
from mosaic_resources.outbox.outbox import Outbox
from mosaic_resources.outbox.senders import make_sender
from mosaic_resources.settings.settings import Settings

__all__ = ["send_lineage"]


def send_lineage(settings: Settings, budget_seconds: float = 30.0) -> DrainReport:
    """Sends waiting events to ``OPENLINEAGE_URL``, else to a file in the state folder; returns what was done.

    A collector that is dead, silent or broken leaves the events where they are.

    Args:
        settings: The target.
        budget_seconds: No event is begun after this long.

    Raises:
        UserError: ``OPENLINEAGE_URL`` is no address, or the outbox is damaged.
    """
    from mosaic_assets.lineage.events import encode

    outbox, sender = Outbox(settings.outbox), make_sender(settings)
    try:
        return drain(outbox, sender, encode, budget_seconds)
    finally:
        sender.close()
        outbox.close()
