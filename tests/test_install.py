"""The installation in one line: what the installer said is counted, and shown where it failed."""

import os
import pty
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINES = ["Resolved 3 packages in 1ms", "Downloading torch (783.1MiB)", *(f" + package-{n}==1" for n in range(300))]


def installed(tmp_path: Path, body: str, **streams: int) -> "subprocess.CompletedProcess[str]":
    """Runs an installer that prints ``LINES`` and does what ``body`` says."""
    (tmp_path / ".uv-cache").mkdir()
    (tmp_path / ".venv").mkdir()
    file = tmp_path / "installer.py"
    file.write_text(f"import sys, time\nfor line in {LINES!r}: print(line, file=sys.stderr, flush=True)\n{body}\n")
    command = [sys.executable, ROOT / ".ci" / "install.py", sys.executable, file]
    env = {name: value for name, value in os.environ.items() if name != "UV_CACHE_DIR"}
    return subprocess.run(
        command, cwd=tmp_path, env=env, text=True, check=False, **(streams or {"capture_output": True})
    )


def test_one_line_says_how_many_how_much_and_how_long(tmp_path: Path):
    done = installed(tmp_path, "open('.uv-cache/wheel', 'wb').truncate(300_000_000)")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1
    assert done.stdout.startswith("Installed 300 packages in ")
    assert done.stdout.endswith(" s: 0.3 GB on disk with the cache, which grew by 0.3 GB.\n")


def test_what_failed_is_shown_without_the_packages(tmp_path: Path):
    done = installed(tmp_path, "print('error: no space left on device')\nsys.exit(7)")
    assert (done.returncode, done.stdout) == (7, "")
    assert "error: no space left on device" in done.stderr
    assert "package-" not in done.stderr


def test_a_terminal_sees_what_goes_on(tmp_path: Path):
    ours, theirs = pty.openpty()
    assert installed(tmp_path, "time.sleep(1.5)", stdout=theirs).returncode == 0
    os.close(theirs)
    seen = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "Downloading torch (783.1MiB)" in seen
    assert "Installed 300 packages" in seen
