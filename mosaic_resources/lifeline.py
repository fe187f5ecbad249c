"""Children that the kernel ends when their parent dies, however it dies (Linux)."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

__all__ = ["end_with_parent"]

PR_SET_PDEATHSIG = 1  # prctl(2)


def end_with_parent(number: signal.Signals = signal.SIGTERM) -> Callable[[], None] | None:
    """Returns what a child runs before its program (``preexec_fn``); None where the system cannot do it.

    The kernel watches the thread that starts the child, so start it from one that lives as long as the process.

    Args:
        number: Signal that the child gets.
    """
    if sys.platform != "linux":
        return None
    library, parent = ctypes.CDLL(None), os.getpid()

    def arrange() -> None:
        library.prctl(PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:  # it died before the kernel was asked
            os.kill(os.getpid(), number)

    return arrange
