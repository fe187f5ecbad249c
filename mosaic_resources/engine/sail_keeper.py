"""The process that holds a Sail server for as long as anybody has the lease. Run by ``SailEngine``."""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from mosaic_resources.lifeline import end_with_parent

POLL_SECONDS = 0.5


def main(folder: Path, memory_bytes: int, idle_seconds: float) -> int:
    """Runs the server until nobody has held the lease for ``idle_seconds``; returns the exit status."""
    port = _free_port()
    server = subprocess.Popen(
        [_sail_command(), "spark", "server", "--ip", "127.0.0.1", "--port", str(port)],
        env={**os.environ, **_limits(folder, memory_bytes)},
        stdin=subprocess.DEVNULL,
        preexec_fn=end_with_parent(signal.SIGKILL),
    )
    signal.signal(signal.SIGTERM, lambda _number, _frame: _end(server, folder, 0))
    _wait_until_open(port, server)
    _write_atomically(
        folder / "address.json", {"host": "127.0.0.1", "port": port, "pid": server.pid, "keeper": os.getpid()}
    )
    idle_since: float | None = None
    with (folder / "lease").open("ab") as lease:
        while server.poll() is None:
            idle_since = None if _somebody_holds(lease) else idle_since or time.monotonic()
            if idle_since is not None and time.monotonic() - idle_since > idle_seconds:
                _end(server, folder, 0)
            time.sleep(POLL_SECONDS)
    return _end(server, folder, 1)


def _somebody_holds(lease: object) -> bool:
    try:
        fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)  # type: ignore[arg-type]
    except OSError:
        return True
    fcntl.flock(lease, fcntl.LOCK_UN)  # type: ignore[arg-type]
    return False


def _end(server: "subprocess.Popen[bytes]", folder: Path, status: int) -> int:
    _withdraw(folder / "address.json", server.pid)
    server.terminate()
    try:
        server.wait(5)
    except subprocess.TimeoutExpired:
        server.kill()
    sys.exit(status)


def _withdraw(file: Path, pid: int) -> None:
    # A successor may have written its own address since.
    try:
        ours = json.loads(file.read_text())["pid"] == pid
    except (FileNotFoundError, ValueError):
        return
    if ours:
        file.unlink(missing_ok=True)


def _limits(folder: Path, memory_bytes: int) -> dict[str, str]:
    # 'fair' spills where 'greedy' fails the query; the default pool is unbounded.
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    return {
        "SAIL_RUNTIME__MEMORY_POOL__TYPE": "fair",
        "SAIL_RUNTIME__MEMORY_POOL__FAIR__MAX_SIZE": str(memory_bytes),
        "SAIL_RUNTIME__TEMPORARY_FILES__PATHS": json.dumps([str(scratch)]),
    }


def _sail_command() -> str:
    beside = Path(sysconfig.get_path("scripts")) / "sail"
    return str(beside) if beside.exists() else shutil.which("sail") or "sail"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_open(port: int, server: "subprocess.Popen[bytes]") -> None:
    while server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)


def _write_atomically(file: Path, value: dict[str, object]) -> None:
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps(value))
    draft.replace(file)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
