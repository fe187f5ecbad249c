"""Child processes that live as long as the command that started them: started, awaited, ended together."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from mosaic_resources.errors import DependencyError
from mosaic_resources.lifeline import end_with_parent

__all__ = ["Processes", "free_port", "http_ready", "process_group"]

PAUSE_SECONDS = 0.05


@dataclass
class Processes:
    """A group of child processes.

    Args:
        logs: Folder for one log file each.
        env: Environment beside the parent's.
        on_end: Is told the name of each child that was asked to end and has.
    """

    logs: Path
    env: Mapping[str, str] = field(default_factory=dict)
    on_end: Callable[[str], None] = lambda _name: None
    _children: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def start(
        self, name: str, command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        """Starts a child in a process group of its own, so that Ctrl-C ends the children in our order.

        It ends too where this process is killed.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        with (self.logs / f"{name}.log").open("ab") as log:
            self._children[name] = subprocess.Popen(
                list(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=cwd,
                env={**os.environ, **self.env, **(env or {})}, start_new_session=True, preexec_fn=end_with_parent(),
            )  # fmt: skip

    def wait_ready(self, name: str, ready: Callable[[], bool], timeout_seconds: float = 120.0) -> None:
        """Waits until a child is ready.

        Raises:
            DependencyError: It ended or did not become ready in time; the message names its log.
        """
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            if self._children[name].poll() is not None:
                raise DependencyError(f"'{name}' ended while starting.", do=f"Its log is {self.logs / name}.log.")
            if ready():
                return
            time.sleep(0.2)
        raise DependencyError(
            f"'{name}' was not ready after {timeout_seconds:.0f} s.", do=f"Its log is {self.logs / name}.log."
        )

    def first_ended(self) -> str | None:
        """Returns the name of a child that has ended, or None while all live."""
        return next((name for name, child in self._children.items() if child.poll() is not None), None)

    @property
    def names(self) -> list[str]:
        """Names of the children, last started first, the order in which they are asked to end."""
        return list(reversed(self._children))

    def stop(self, timeout_seconds: float = 15.0) -> None:
        """Ends every child, last started first: asks, waits, then kills; tells of each that has ended."""
        for name in self.names:
            _signal(self._children[name], signal.SIGTERM)
        began = time.monotonic()
        while self._children:
            late = time.monotonic() - began > timeout_seconds
            for name in self.names:
                child = self._children[name]
                if late:
                    _signal(child, signal.SIGKILL)
                    child.wait()
                if child.poll() is not None:
                    del self._children[name]
                    self.on_end(name)
            time.sleep(PAUSE_SECONDS if self._children else 0)


@contextlib.contextmanager
def process_group(
    logs: Path, env: Mapping[str, str] | None = None, on_end: Callable[[str], None] = lambda _name: None
) -> Iterator[Processes]:
    """Yields a group of processes and ends them all on the way out, however that is."""
    group = Processes(logs, env or {}, on_end)
    try:
        yield group
    finally:
        group.stop()


def free_port(preferred: int | None = None) -> int:
    """Returns ``preferred`` where nothing listens on it, else a free port, both on loopback."""
    for port in ([preferred] if preferred else []) + [0]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DependencyError("No free port on 127.0.0.1.")


def http_ready(url: str) -> Callable[[], bool]:
    """Returns a function that says whether ``url`` answers below 500."""

    def ready() -> bool:
        try:
            return httpx.get(url, timeout=2.0).status_code < 500
        except httpx.HTTPError:
            return False

    return ready


def _signal(child: "subprocess.Popen[bytes]", number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)
