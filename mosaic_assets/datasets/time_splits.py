"""Splits and folds by time: what is older trains, what is newer is held out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from mosaic_resources.errors import UserError

__all__ = ["TimeSplit", "bounds_by_share", "month_start", "parts_by_time", "time_blocks"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TimeSplit:
    """How many of the newest whole months are held out.

    Args:
        validation_months: Months before the test months.
        test_months: Newest months.
    """

    validation_months: int = 1
    test_months: int = 0

    def bounds(self, cutoff: datetime) -> tuple[datetime, datetime, datetime]:
        """Returns where train, validation and test end; the last is the cutoff's own month's start."""
        end = month_start(cutoff)
        test = _months_before(end, self.test_months)
        return _months_before(test, self.validation_months), test, end


def month_start(moment: datetime) -> datetime:
    """Returns the first instant of the month of ``moment``, UTC."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def bounds_by_share(at_us: Ints, shares: Sequence[float], end: datetime) -> tuple[datetime, ...]:
    """Returns where each part ends, so that it holds its share of the rows; rows of one time are in one part.

    Args:
        at_us: (rows,) int64 microseconds UTC, all before ``end``.
        shares: Share of each part, 1 together, oldest first.
        end: End of the last part.
    """
    ordered = np.sort(at_us)
    first = np.ceil(np.cumsum(shares)[:-1] * len(ordered) - 1e-9).astype(np.int64)  # first row of the next part
    inner = [_moment(int(ordered[row])) if row < len(ordered) else end for row in first]
    return (*inner, end)


def parts_by_time(at_us: Ints, bounds: Sequence[datetime]) -> Ints:
    """Returns (rows,) the number of the part that ends after a row's time; the last one takes what is later."""
    edges = np.array([microsecond(bound) for bound in bounds])
    return np.minimum(np.searchsorted(edges, at_us, side="right"), len(edges) - 1)


def time_blocks(at_us: Ints, num_blocks: int, where: str) -> Ints:
    """Returns (rows,) the number of the block of time; blocks hold about as many rows each, one time is in one block.

    Args:
        at_us: (rows,) int64 microseconds UTC.
        num_blocks: Blocks; of ``n`` time-ordered folds there are ``n + 1``, of which the first is only trained on.
        where: Dataset for the message.

    Raises:
        UserError: Too few different times.
    """
    ordered = np.sort(at_us)
    first = np.ceil(np.arange(1, num_blocks) * len(ordered) / num_blocks).astype(np.int64)
    edges = ordered[np.minimum(first, len(ordered) - 1)] if len(ordered) else ordered
    blocks = np.searchsorted(edges, at_us, side="right")
    if len(np.unique(blocks)) < num_blocks:
        raise UserError(f"{len(np.unique(ordered))} times do not make {num_blocks} blocks.", where, "Lower n_splits.")
    return blocks


def microsecond(moment: datetime) -> int:
    """Returns microseconds since 1970, exactly."""
    elapsed = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds


def _moment(us: int) -> datetime:
    return datetime.fromtimestamp(us // 1_000_000, UTC).replace(microsecond=us % 1_000_000)


def _months_before(start: datetime, months: int) -> datetime:
    index = start.year * 12 + start.month - 1 - months
    return start.replace(year=index // 12, month=index % 12 + 1)
