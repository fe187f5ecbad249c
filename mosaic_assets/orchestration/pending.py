"""What ``materialize --changed`` still has to make: kept, so that a failed or killed one is taken up again."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ["Pending"]


class Pending:
    """Keys that wait, in a small file.

    Args:
        file: Where they are kept; absent while nothing waits.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def keys(self) -> list[str]:
        """Returns what waits; a damaged file means nothing does."""
        try:
            kept = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return []
        return [str(key) for key in kept] if isinstance(kept, list) else []

    def set(self, keys: Iterable[str]) -> None:
        """Replaces what waits."""
        waiting = list(keys)
        if not waiting:
            self._file.unlink(missing_ok=True)
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        draft = self._file.with_suffix(".draft")
        draft.write_text(json.dumps(waiting))
        draft.replace(self._file)

    def done(self, keys: Sequence[str]) -> None:
        """Takes out what has been made."""
        self.set(key for key in self.keys() if key not in keys)
