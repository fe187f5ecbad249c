"""What to say where a split has no rows: the time that it takes, the time that the rows have, and what to do."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from mosaic_assets.datasets.time_splits import month_start
from mosaic_resources.errors import UserError

__all__ = ["empty_part", "nothing_usable", "span_of"]

Ints = npt.NDArray[np.int64]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def empty_part(
    name: str, number: int, at_us: Ints, bounds: Sequence[datetime], time_col: str, num_rows: int, where: str
) -> UserError:
    """Returns the error for a part of time without rows.

    Args:
        name: Name of the split.
        number: Its place among the bounds.
        at_us: (rows,) int64 microseconds UTC of all rows.
        bounds: Where each split ends.
        time_col: Column that the split looks at.
        num_rows: How many rows there are.
        where: Dataset for the message.
    """
    since = f"from {_day(bounds[number - 1])} " if number else ""
    span = f"'{time_col}' {since}to before {_day(bounds[number])}"
    what = f"The split '{name}' has no rows: it takes {span}, the {num_rows} rows have it {span_of(at_us)}."
    first, last = _moment(int(at_us.min())), _moment(int(at_us.max()))
    newest, after = month_start(last), month_start(month_start(last) + timedelta(days=32))
    shares = f"hold out a share of the newest rows: split: {{validation: 0.2}} with time_col: {time_col}"
    if first >= newest:  # All of one month: no month can be held out.
        later = "set the project's clock after them ('mosaic clock')"
        return UserError(what, where, f"Land more months; where later ones have landed, {later}; or {shares}.")
    ends = f"split: {{train: {newest:%Y-%m-%d}, validation: {after:%Y-%m-%d}}}"
    return UserError(
        what, where,
        f"Whole months are counted from the project's clock: set it after the data ('mosaic clock {after:%Y-%m-%d}'). "
        f"Or give ends that lie in it, for instance {ends}; or {shares}.",
    )  # fmt: skip


def nothing_usable(num_rows: int, at_us: Ints, time_col: str, cutoff: datetime, where: str) -> UserError:
    """Returns the error for a query whose rows all lie outside the time of the dataset or have no known label.

    Args:
        num_rows: Rows of the query.
        at_us: (rows,) int64 microseconds UTC of those with a time.
        time_col: Column of the time.
        cutoff: The time that the dataset is made as of.
        where: Dataset for the message.
    """
    return UserError(
        f"None of the {num_rows} rows can be used at {cutoff:%Y-%m-%d %H:%M}: '{time_col}' is {span_of(at_us)}.",
        where,
        "A row needs a label that is known by then and a time before it and before the last end of 'split'. "
        "'mosaic clock' shows and sets the project's time.",
    )


def span_of(at_us: Ints) -> str:
    """Returns the first and last of some times in words.

    Example:
        >>> span_of(np.array([0, 86_400_000_000 * 31]))
        'from 1970-01-01 to 1970-02-01'
    """
    return f"from {_day(_moment(int(at_us.min())))} to {_day(_moment(int(at_us.max())))}" if len(at_us) else "never set"


def _moment(us: int) -> datetime:
    return EPOCH + timedelta(microseconds=us)


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d")
