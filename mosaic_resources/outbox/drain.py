"""Sends what waits in the outbox, in order; never runs inside a step."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import filelock

from mosaic_resources.errors import DependencyError
from mosaic_resources.outbox.outbox import Outbox, StoredEvent
from mosaic_resources.outbox.senders import EventRefusedError, Sender

__all__ = ["DrainReport", "drain"]

BATCH_EVENTS = 100
LOG = logging.getLogger("mosaic.lineage")


@dataclass(frozen=True)
class DrainReport:
    """What one drain did.

    Args:
        sent: Rows whose events arrived.
        refused: Rows that the receiver will never take; kept, and passed over.
        waiting: Rows that still wait.
        problem: Why it stopped early; None when nothing is left, or time was up.
    """

    sent: int
    refused: int
    waiting: int
    problem: str | None = None


def drain(
    outbox: Outbox,
    sender: Sender,
    encode: Callable[[str], Sequence[str]] = lambda body: [body],
    budget_seconds: float = 30.0,
) -> DrainReport:
    """Sends waiting events oldest first, until none is left, one does not arrive, or time is up.

    An event is marked only after it has arrived, so a kill in between sends it again: its run id and type are
    the same, which is how a receiver knows. Of two drains at once, one sends and the other returns.

    Args:
        outbox: The queue.
        sender: Where to; stays open.
        encode: Turns a kept row into the events to send.
        budget_seconds: No event is begun after this long.
    """
    if not outbox.exists:
        return DrainReport(0, 0, 0)
    lock = filelock.FileLock(f"{outbox.file}.drain.lock", timeout=0)
    try:
        with lock:
            sent, refused, problem = _send(outbox, sender, encode, time.monotonic() + budget_seconds)
            outbox.settle()
    except filelock.Timeout:
        sent, refused, problem = 0, 0, "Another drain is at work."
    return DrainReport(sent, refused, outbox.backlog(), problem)


def _send(
    outbox: Outbox, sender: Sender, encode: Callable[[str], Sequence[str]], deadline: float
) -> tuple[int, int, str | None]:
    sent = refused = 0
    while events := outbox.waiting(BATCH_EVENTS):
        for event in events:
            if time.monotonic() >= deadline:
                return sent, refused, None
            try:
                sender.send(_encoded(event, encode))
                outbox.mark_sent([event.id])
                sent += 1
            except EventRefusedError as exc:
                LOG.warning("Lineage event %d is not sent: %s", event.id, exc)
                outbox.mark_refused(event.id, str(exc))
                refused += 1
            except DependencyError as exc:
                return sent, refused, str(exc)
    return sent, refused, None


def _encoded(event: StoredEvent, encode: Callable[[str], Sequence[str]]) -> Sequence[str]:
    """Returns what to send; a row that makes no event must not stand in the way of the others."""
    try:
        return encode(event.body)
    except Exception as exc:
        raise EventRefusedError(f"It makes no event: {type(exc).__name__}: {exc}.", f"event {event.id}") from exc
