"""What a run tells while it goes: the steps ahead, the one that has begun, the ones that are done."""

import logging
import sys
from collections.abc import Callable, Mapping

import dagster as dg

__all__ = ["Ticker", "listener"]


class Ticker:
    """Listens to a run; this one does nothing with it.

    Example:
        A ticker that prints::

            class Printed(Ticker):
                def begun(self, step: str) -> None:
                    print(step)
    """

    def expect(self, num_steps: int) -> None:
        """Takes the number of steps that are ahead in all."""

    def begun(self, step: str) -> None:
        """Takes the name of a step that has begun."""

    def done(self, step: str) -> None:
        """Takes the name of a step that is done."""

    def note(self, text: str, part: float = 0.0) -> None:
        """Takes a remark of the step that is going on, and the share of it that is done, from 0 to 1."""


def listener(
    ticker: Ticker, names: Mapping[str, str], failures: dict[str, BaseException]
) -> Callable[[dg.EventLogEntry], None]:
    """Returns what Dagster's instance calls for each event of a run in this process, when it happens.

    Args:
        ticker: Is told.
        names: Dagster's step key → name for people.
        failures: Takes the errors of failed steps, by name; Dagster itself keeps their text alone.
    """

    def hear(entry: dg.EventLogEntry) -> None:
        step = names.get(entry.step_key or "", entry.step_key or "")
        event = entry.dagster_event
        if event is None:
            if step and int(entry.level) >= logging.INFO:
                ticker.note(entry.user_message)
        elif event.is_step_start:
            ticker.begun(step)
        elif event.is_step_success:
            ticker.done(step)
        elif event.is_step_failure:
            caught = sys.exception()  # The event is told where the error is being handled.
            if caught is not None:
                failures[step] = getattr(caught, "user_exception", None) or caught

    return hear
