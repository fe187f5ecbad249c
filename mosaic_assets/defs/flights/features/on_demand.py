"""Features of the request itself, the same function in training and behind the endpoint."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

NEW_YORK = ZoneInfo("America/New_York")


def features(inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Returns (rows,) float64 features: the scheduled departure in New York's time, the age of the last one.

    Args:
        inputs: Columns of the request, ``asked_at``, and the looked-up features as ``view__feature``.
    """
    utc = inputs["sched_dep"].astype("datetime64[s]")
    hours, position = np.unique(utc.astype("datetime64[h]"), return_inverse=True)
    offset = np.array([_offset_seconds(hour) for hour in hours.astype("datetime64[s]").astype(int)], np.int64)
    local = utc + offset[position].astype("timedelta64[s]")
    day = local.astype("datetime64[D]")
    return {
        "minute_of_day": (local - day).astype("timedelta64[m]").astype(np.float64),
        "day_of_week": ((day.astype(np.int64) + 3) % 7).astype(np.float64),
        "hours_since_departure": _hours(inputs["asked_at"] - inputs["aircraft_departure__departed_at"]),
    }


def _hours(elapsed: npt.NDArray[Any]) -> npt.NDArray[Any]:
    # Microseconds to hours; a departure that is not known (NaT) stays missing.
    return np.where(np.isnat(elapsed), np.nan, elapsed.astype("timedelta64[s]").astype(np.float64) / 3600.0)


def _offset_seconds(second: int) -> int:
    offset = datetime.fromtimestamp(second, NEW_YORK).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())
