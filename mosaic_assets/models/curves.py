"""Curves of a training run: kept in memory, and sent on by a thread that never holds the training up."""

import queue
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

__all__ = ["Curves", "Point"]

CLOSE_SECONDS = 30.0


class Point(NamedTuple):
    """One value of a curve at a step (batches so far)."""

    name: str
    step: int
    value: float


class Curves:
    """Collects points and hands them to ``send`` in batches.

    A ``send`` that fails loses points of the picture, never the run: they are counted in ``num_lost``.

    Args:
        send: Takes points; called from one thread; None keeps them here only.
        chunk: Points that are handed over together.
    """

    def __init__(self, send: Callable[[Sequence[Point]], None] | None = None, chunk: int = 200) -> None:
        self.points: list[Point] = []
        self.num_lost = 0
        self._send, self._chunk, self._pending = send, chunk, list[Point]()
        self._queue: queue.SimpleQueue[list[Point] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def add(self, name: str, step: int, value: float) -> None:
        """Takes one value."""
        point = Point(name, step, value)
        self.points.append(point)
        self._pending.append(point)
        if len(self._pending) >= self._chunk:
            self._hand_over()

    def close(self) -> None:
        """Sends what is left and waits for it, at most ``CLOSE_SECONDS``."""
        self._hand_over()
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(CLOSE_SECONDS)
            self._thread = None

    def _hand_over(self) -> None:
        points, self._pending = self._pending, []
        if not points or self._send is None:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="curves", daemon=True)
            self._thread.start()
        self._queue.put(points)

    def _work(self) -> None:
        assert self._send is not None
        while (points := self._queue.get()) is not None:
            try:
                self._send(points)
            except Exception:
                self.num_lost += len(points)
