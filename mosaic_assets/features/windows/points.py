"""The rows of a view: at which event times a key has one, and the known times of its versions."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mosaic_assets.features.windows.ranges import SortedRows, pieces, range_extreme, spread

__all__ = ["Points", "Versions", "points_of", "versions_of"]

Ints = npt.NDArray[np.int64]
PAIRS_PER_PIECE = 1 << 22


@dataclass(frozen=True)
class Points:
    """Ends of windows: each array (points,) int64, by key and time.

    Args:
        key: Code of the key.
        at: Event time of the row.
        begins: When the row is first known.
        end: The row behind the last of its windows.
    """

    key: Ints
    at: Ints
    begins: Ints
    end: Ints


@dataclass(frozen=True)
class Versions:
    """Rows of the view: each array (versions,) int64, by point and known time.

    Args:
        point: Number of the point.
        known: Known time: the row holds the events known by then.
        is_whole: Whether that is all events of its windows.
    """

    point: Ints
    known: Ints
    is_whole: npt.NDArray[np.bool_]


def points_of(rows: SortedRows, *, slide_us: int, longest_us: int, delay_us: int, low: Ints, high: Ints) -> Points:
    """Returns the ends of windows that have a row.

    Rolling: the event times of a key; a row begins when the first of the events at that time is known.
    With a slide: each multiple of it, as long as the longest window or the one slide before it holds an event; a row
    begins ``delay_us`` behind the window's end, or when the first of these events is known.

    Args:
        rows: Events.
        slide_us: Distance of the windows' ends; 0: rolling.
        longest_us: Length of the longest window.
        delay_us: How long a window waits for its events.
        low: (rows,) earliest event time of rows of the view that are asked for, for the row's key.
        high: (rows,) latest one.
    """
    if not slide_us:
        first = np.flatnonzero(np.r_[True, (np.diff(rows.key) != 0) | (np.diff(rows.event) != 0)][: len(rows)])
        first = first[(rows.event[first] >= low[first]) & (rows.event[first] <= high[first])]
        key, at = rows.key[first], rows.event[first]
        return Points(key, at, rows.known[first], rows.first_from(key, at + 1))
    bucket = rows.event // slide_us
    first = np.flatnonzero(np.r_[True, (np.diff(rows.key) != 0) | (np.diff(bucket) != 0)][: len(rows)])
    # Window ends of each bucket that the bucket before it does not have already, within what is asked for.
    num = longest_us // slide_us + 1
    next_same = np.r_[rows.key[first][1:] == rows.key[first][:-1], False]
    stop = np.where(next_same, np.r_[bucket[first][1:], 0], bucket[first] + num)
    start = np.maximum(bucket[first] + 1, -(-low[first] // slide_us))
    last = np.minimum(np.minimum(bucket[first] + num, stop), high[first] // slide_us)
    owner, number = spread(start, np.maximum(last + 1, start))
    key, at = rows.key[first][owner], number * slide_us
    end = rows.first_from(key, at)
    earliest = range_extreme(rows.known, rows.first_from(key, at - longest_us - slide_us), end, largest=False)
    return Points(key, at, np.maximum(at + delay_us, earliest.astype(np.int64)), end)


def versions_of(rows: SortedRows, points: Points, start: Ints) -> Versions:
    """Returns the versions of each point: when it begins, and each time that an event of its windows came later.

    Args:
        rows: Events.
        points: Ends of windows.
        start: (points,) first row of the longest window.
    """
    newest = range_extreme(rows.known, start, points.end, largest=True).astype(np.int64)
    newest = np.where(points.end > start, newest, points.begins)
    late = np.flatnonzero(newest > points.begins)
    point, known = [np.arange(len(points.at))], [points.begins]
    for piece in pieces(points.end[late] - start[late], PAIRS_PER_PIECE):
        some = late[piece]
        owner, row = spread(start[some], points.end[some])
        later = rows.known[row] > points.begins[some][owner]
        order = np.lexsort((rows.known[row][later], owner[later]))
        whose, when = owner[later][order], rows.known[row][later][order]
        fresh = np.r_[True, (np.diff(whose) != 0) | (np.diff(when) != 0)][: len(whose)]
        point.append(some[whose[fresh]])
        known.append(when[fresh])
    all_points, all_known = np.concatenate(point), np.concatenate(known)
    if len(late):
        order = np.lexsort((all_known, all_points))
        all_points, all_known = all_points[order], all_known[order]
    return Versions(all_points, all_known, newest[all_points] <= all_known)
