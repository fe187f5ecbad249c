"""Runs the tests in two halves side by side, one for each core; what the second prints comes when both have ended."""

import subprocess
import sys
import tempfile

# What plays stories and starts whole commands, and everything else: about as long as each other.
STARTS_COMMANDS = ("tests/stories", "tests/mosaic_assets/cli", "tests/mosaic_assets/monitors/test_sensor_daemon.py")
HALVES = (("tests", *(f"--ignore={path}" for path in STARTS_COMMANDS)), STARTS_COMMANDS)
NO_TESTS = 5


def main(arguments: list[str]) -> int:
    """Returns 0 where both halves passed, else the exit status of one that did not."""
    pytest = [sys.executable, "-m", "pytest", *arguments]
    with tempfile.TemporaryFile("w+") as kept:
        second = subprocess.Popen(
            [*pytest, "-o", "cache_dir=.pytest_cache/second", *HALVES[1]], stdout=kept, stderr=subprocess.STDOUT
        )
        try:
            first = subprocess.run([*pytest, *HALVES[0]], check=False)
        finally:
            second.wait()
            kept.seek(0)
            sys.stdout.write(f"\n{' '.join(STARTS_COMMANDS)}\n{kept.read()}")
    return max(0 if code == NO_TESTS else code for code in (first.returncode, second.returncode))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
