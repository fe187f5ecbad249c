"""``mosaic clock``: the time that the project lives in, for data that is history."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from mosaic_assets.cli.output import Output, OutputOption, RootOption, console, emit, errors, root_of
from mosaic_resources.errors import UserError

__all__ = ["clock", "time_of"]


def clock(
    time: Annotated[str | None, typer.Argument(help="A date or an ISO-8601 time, UTC; left out: show it.")] = None,
    wall: Annotated[bool, typer.Option("--wall", help="Go back to the wall's time.")] = False,
    project: RootOption = Path(),
    output: OutputOption = Output.text,
) -> None:
    """Show or set the time that every step of the project lives in: split months and known rows are counted from it."""
    with errors(output):
        from mosaic_resources.settings.clock import is_simulated, now_utc, set_simulated_clock
        from mosaic_resources.settings.settings import load_settings

        state = load_settings(root_of(project)).state
        if wall and time is not None:
            raise UserError("A time and --wall exclude each other.", do="Give one of them.")
        if wall or time is not None:
            set_simulated_clock(state, None if time is None else time_of(time))
        told = {"now_utc": now_utc(state).isoformat(timespec="seconds"), "simulated": is_simulated(state)}
        emit(told, output, lambda: _show(told))


def time_of(text: str) -> datetime:
    """Returns a date or an ISO-8601 time; without an offset it is UTC.

    Raises:
        UserError: The text is neither.

    Example:
        >>> time_of("2020-01-01").isoformat()
        '2020-01-01T00:00:00+00:00'
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError as exc:
        raise UserError(f"'{text}' is no time.", do="Write 2020-01-01 or 2020-01-01T12:00:00.") from exc
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _show(told: dict[str, Any]) -> None:
    kind = "simulated; 'mosaic clock --wall' goes back" if told["simulated"] else "the wall's"
    console.print(f"{told['now_utc']} ({kind})", highlight=False)
