"""Sail as a child process that every step on this machine shares.

The first user starts a keeper, which starts the server and writes its address; later users find it.
Each user holds a shared lock on the lease for as long as it lives. When the keeper can take that lock
for itself nobody is left, and it stops the server. The kernel drops the lock of a killed user.
"""

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import filelock
import psutil

from mosaic_resources.engine.connect import reachable
from mosaic_resources.errors import DependencyError

__all__ = ["SailEngine"]

START_TIMEOUT_SECONDS = 60.0


class SailEngine:
    """The embedded engine.

    Args:
        folder: Where the address, the lease and the log live; one server per folder.
        memory_bytes: Memory pool; 0 takes a quarter of the machine's RAM.
        idle_seconds: How long the server outlives its last user.
        environment: Variables of the server beside this process's, for instance those of an object store.
    """

    name = "sail"

    def __init__(
        self,
        folder: Path,
        memory_bytes: int = 0,
        idle_seconds: float = 20.0,
        *,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._environment = dict(environment)
        self._folder, self._idle_seconds = folder, idle_seconds
        self._memory_bytes = memory_bytes or psutil.virtual_memory().total // 4
        self._lease: IO[bytes] | None = None

    @property
    def address_file(self) -> Path:
        """Path of the JSON file with host, port and process ids."""
        return self._folder / "address.json"

    def spark_config(self) -> dict[str, str]:
        """Returns the configuration of a session on the shared server, which is started when it is not up.

        Raises:
            DependencyError: The server did not start in time; the message names its log.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._hold_lease()
        with filelock.FileLock(self._folder / "start.lock", timeout=START_TIMEOUT_SECONDS + 5):
            address = self._find() or self._start()
        return {"spark.remote": f"sc://{address['host']}:{address['port']}"}

    def stop(self) -> None:
        """Gives the lease back; the keeper ends the server once nobody holds it."""
        if self._lease is not None:
            self._lease.close()
            self._lease = None

    def _hold_lease(self) -> None:
        if self._lease is None:
            self._lease = (self._folder / "lease").open("ab")
            fcntl.flock(self._lease, fcntl.LOCK_SH)

    def _find(self) -> dict[str, Any] | None:
        try:
            address: dict[str, Any] = json.loads(self.address_file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        # The port may have been taken by a stranger since: the server's process must still be Sail's own.
        alive = psutil.pid_exists(address["pid"]) and "sail" in " ".join(_command_line(address["pid"]))
        return address if alive and reachable(address["host"], address["port"]) else None

    def _start(self) -> dict[str, Any]:
        self.address_file.unlink(missing_ok=True)
        log = self._folder / "sail.log"
        command = [sys.executable, "-m", "mosaic_resources.engine.sail_keeper", str(self._folder)]
        command += [str(self._memory_bytes), str(self._idle_seconds)]
        with log.open("ab") as out:
            # A session of its own: Ctrl-C in the starter's terminal must not end other users' queries.
            keeper = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                env={**os.environ, **self._environment},
            )  # fmt: skip
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            if found := self._find():
                return found
            if keeper.poll() is not None:
                break
            time.sleep(0.05)
        raise DependencyError("The embedded engine did not start.", "engine 'sail'", f"Its log is {log}.")


def _command_line(pid: int) -> list[str]:
    try:
        return psutil.Process(pid).cmdline()
    except psutil.Error:
        return []
