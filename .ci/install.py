"""Runs an installer and says in one line what came of it. Runs on the system's Python, so only the standard library.

``python .ci/install.py uv pip sync …``: on a terminal a line tells what goes on; the installer's own lines are shown
only where it fails.
"""

import re
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from preflight import cache_folder, held_gb

LAST_LINES = 40
PACKAGE = re.compile(r"^ [+~-] ")
TOLD = re.compile(r"^(Resolved|Prepared|Installed|Uninstalled|Downloading|Downloaded|Building|Built|Bytecode)\b.*")


class Told:
    """What the installer has said so far.

    Args:
        lines: Its lines, as they come.
    """

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self.now, self.num_packages, self.last = "", 0, deque[str](maxlen=LAST_LINES)
        for line in lines:
            self.hear(line)

    def hear(self, line: str) -> None:
        """Takes a line."""
        self.last.append(line)
        self.num_packages += line.startswith((" + ", " ~ "))
        if found := TOLD.match(line.strip()):
            self.now = found[0]


def install(command: Sequence[str], folders: Sequence[Path]) -> int:
    """Returns the exit status of an installer, and prints one line with packages, size and time.

    Args:
        command: The installer with its arguments.
        folders: Environment and cache, whose size is told.
    """
    began, told, before = time.monotonic(), Told(), held_gb([folders[-1]])
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    assert child.stdout is not None
    ended = threading.Event()
    shown = threading.Thread(target=_show, args=(told, ended, began), daemon=True)
    shown.start()
    for line in child.stdout:
        told.hear(line.rstrip("\n"))
    status = child.wait()
    ended.set()
    shown.join()
    if status:
        print("\n".join(line for line in told.last if not PACKAGE.match(line)), file=sys.stderr)
        return status
    new_gb = max(held_gb([folders[-1]]) - before, 0.0)
    print(
        f"Installed {told.num_packages} packages in {time.monotonic() - began:.0f} s: {held_gb(list(folders)):.1f} GB "
        f"on disk with the cache, which grew by {new_gb:.1f} GB.",
        flush=True,
    )
    return 0


def _show(told: Told, ended: threading.Event, began: float) -> None:
    """Keeps one line of a terminal true until the end; elsewhere says nothing."""
    if not sys.stdout.isatty():
        return
    while not ended.wait(0.5):
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\033[K{f'  {time.monotonic() - began:.0f} s  {told.now}'[:width]}", end="", flush=True)
    print("\r\033[K", end="", flush=True)


if __name__ == "__main__":
    sys.exit(install(sys.argv[1:], [Path.cwd() / ".venv", cache_folder()]))
