"""Composer's engine without the work that nobody listens to; it counts what ran."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from composer.core import Callback, Engine, Event
from composer.loggers import LoggerDestination

__all__ = ["FastEngine"]

# Events outside the batch loop take Composer's own way, with all of its checks.
HOT = frozenset(
    Event(f"{when}_{what}")
    for what in ("dataloader", "train_batch", "forward", "loss", "backward")
    for when in ("before", "after")
)
HOT |= {Event.BATCH_START, Event.BATCH_END, Event.BATCH_CHECKPOINT}


class FastEngine(Engine):
    """Composer's engine, calling at hot events only the callbacks that listen; it also counts who ran.

    The order is Composer's: algorithms, callbacks, loggers. Left out: debug logs, profiler marks, repeated checks.
    """

    fired: Counter[str]
    listeners: dict[Event, tuple[int, list[Callback]]]

    @classmethod
    def take_over(cls, engine: Engine) -> "FastEngine":
        """Turns a trainer's engine into this one."""
        engine.__class__ = cls
        assert isinstance(engine, FastEngine)
        engine.fired, engine.listeners = Counter(), {}
        return engine

    def run_event(self, event: Event | str) -> Any:
        """Runs an event; see Composer's engine."""
        if event not in HOT or self.state.profiler is not None:
            return super().run_event(event)
        event = Event(event)
        traces = self._run_algorithms(event) if self.state.algorithms else {}
        for callback in self._listening(event):
            self.fired[type(callback).__name__] += 1
            callback.run_event(event, self.state, self.logger)
        return traces

    def _run_algorithms(self, event: Event) -> Any:
        traces = super()._run_algorithms(event)
        self.fired.update(trace.name for trace in traces.values() if trace.run)
        return traces

    def _run_callbacks(self, event: Event | str, callbacks: Sequence[Callback] | None = None) -> None:
        super()._run_callbacks(event, callbacks)
        self.fired.update(type(callback).__name__ for callback in callbacks or () if _listens(callback, Event(event)))

    def _listening(self, event: Event) -> list[Callback]:
        num_callbacks, found = self.listeners.get(event, (-1, []))
        if num_callbacks != len(self.state.callbacks):
            found = [callback for callback in self.state.callbacks if _listens(callback, event)]
            found.sort(key=lambda callback: isinstance(callback, LoggerDestination))
            self.listeners[event] = len(self.state.callbacks), found
        return found


def _listens(callback: Callback, event: Event) -> bool:
    own = type(callback)
    return own.run_event is not Callback.run_event or getattr(own, event.value) is not getattr(Callback, event.value)
