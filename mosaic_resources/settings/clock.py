"""One clock: the wall's, or a simulated one that the state folder holds for every process."""

import json
from datetime import UTC, datetime
from pathlib import Path

from mosaic_resources.errors import UserError

__all__ = ["is_simulated", "now_utc", "set_simulated_clock"]

CLOCK_FILE = "clock.json"


def now_utc(state: Path) -> datetime:
    """Returns the time that steps of this project live in, aware, UTC.

    Args:
        state: The state folder; a ``clock.json`` in it stops the clock at its time.

    Raises:
        UserError: The clock file is damaged.
    """
    try:
        text = (state / CLOCK_FILE).read_text()
    except FileNotFoundError:
        return datetime.now(UTC)
    try:
        return datetime.fromisoformat(json.loads(text)["now_utc"]).astimezone(UTC)
    except (ValueError, KeyError, TypeError) as exc:
        raise UserError("The simulated clock is unreadable.", str(state / CLOCK_FILE), "Delete it.") from exc


def is_simulated(state: Path) -> bool:
    """Returns whether the state folder holds a simulated clock."""
    return (state / CLOCK_FILE).exists()


def set_simulated_clock(state: Path, now: datetime | None) -> None:
    """Sets the simulated clock for every process of the project; None gives the wall's time back."""
    file = state / CLOCK_FILE
    if now is None:
        file.unlink(missing_ok=True)
        return
    state.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps({"now_utc": now.astimezone(UTC).isoformat()}))
    draft.replace(file)
