"""What the state folder takes on the disk, in a line for people."""

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["disk_text", "disk_use"]


def disk_use(folder: Path) -> int:
    """Returns the bytes that a folder takes on the disk; files that go away meanwhile count nothing."""
    num_bytes = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                found = Path(place, name).lstat()
                num_bytes += found.st_blocks * 512 if hasattr(found, "st_blocks") else found.st_size
    return num_bytes


def disk_text(state: str, num_bytes: int) -> str:
    """Returns the line that says where everything lies that runs leave behind, and how much it takes."""
    return f"state: {num_bytes / 1e6:,.0f} MB in {state}"
