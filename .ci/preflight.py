"""Looks at the machine before anything is downloaded. Runs on the system's Python, so only the standard library."""

import os
import platform
import shutil
import sys

DOWNLOAD_GB, DISK_GB, MEMORY_GB = 4.0, 11.0, 6.0


def main() -> int:
    """Prints what will be downloaded and returns 1 with what to do where the machine does not suffice."""
    here = os.getcwd()
    free_gb = shutil.disk_usage(here).free / 1e9
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    problems = []
    if not (3, 11) <= sys.version_info[:2] <= (3, 12):
        problems.append(f"Python {platform.python_version()} is not 3.11 or 3.12: run make PYTHON=/path/to/python3.11")
    if free_gb < DISK_GB and not os.path.isdir(".venv"):
        problems.append(f"{free_gb:.0f} GB free in {here}, {DISK_GB:.0f} GB needed: free some, or clone elsewhere")
    if memory_gb < MEMORY_GB:
        problems.append(f"{memory_gb:.0f} GB of memory, {MEMORY_GB:.0f} GB needed")
    for problem in problems:
        print(f"  cannot install: {problem}")
    if not problems:
        print(f"Installing into {here}/.venv: about {DOWNLOAD_GB:.0f} GB to download (mostly CUDA libraries that torch")
        print(
            f"brings), 8 GB on disk, two to ten minutes. Python {platform.python_version()}, {free_gb:.0f} GB free.",
            flush=True,
        )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
