"""Splits by time: the newest whole months validate and test, what is older trains."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from mosaic_resources.errors import UserError

__all__ = ["SPLITS", "TimeSplit", "month_start", "split_by_time"]

SPLITS = ("train", "validation", "test")


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


def split_by_time(at_us: npt.NDArray[np.int64], bounds: Sequence[datetime], where: str) -> npt.NDArray[np.str_]:
    """Returns (rows,) names of the splits; every row is in exactly one.

    Args:
        at_us: (rows,) int64 microseconds UTC, all before the last bound.
        bounds: Ends of train, validation and test.
        where: Dataset for the message.

    Raises:
        UserError: A split that was asked for has no rows.
    """
    edges = np.array([int(bound.timestamp() * 1_000_000) for bound in bounds])
    position = np.searchsorted(edges, at_us, side="right")
    names: npt.NDArray[np.str_] = np.array(SPLITS)[np.minimum(position, len(SPLITS) - 1)]
    wanted = ["train", *(name for name, width in zip(SPLITS[1:], np.diff(edges), strict=True) if width > 0)]
    for name in wanted:
        if not (names == name).any():
            raise UserError(f"The split '{name}' has no rows.", where, "Land more history, or hold out fewer months.")
    return names


def _months_before(start: datetime, months: int) -> datetime:
    index = start.year * 12 + start.month - 1 - months
    return start.replace(year=index // 12, month=index % 12 + 1)
