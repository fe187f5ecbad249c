"""What a windowed view holds, by looking at plain rows one by one; shares no code with the implementation."""

import math
import statistics
from fractions import Fraction


def joined(events, key, at, *, slide, windows, delay=0, only=None):
    """Returns what the point-in-time join must find at a time: (event, known, values of each window), or None.

    Args:
        events: (key, event, known, value) of whole numbers; values may be None or NaN.
        key: The key that is asked for.
        at: The time that is asked for.
        slide: 0: a row at each event; else at each multiple.
        windows: Lengths.
        delay: How long a window with a slide waits.
        only: The event time that is looked at; default: the latest.
    """
    seen = [one for one in events if one[0] == key is not None and one[2] <= at]
    longest = max(windows)
    if slide:
        ends = [
            end for end in range((at - delay) // slide * slide, -10 * longest, -slide)
            if any(end - longest - slide <= e < end for _, e, _, _ in seen)
        ]  # fmt: skip
    else:
        ends = [e for _, e, _, _ in seen if e <= at]
    ends = [end for end in ends if only is None or end == only]
    if not ends:
        return None
    end = max(ends)
    inside = {w: [o for o in seen if (end - w <= o[1] < end if slide else end - w < o[1] <= end)] for w in windows}
    if slide:
        first = max(end + delay, min(k for _, e, k, _ in seen if end - longest - slide <= e < end))
    else:
        first = min(k for _, e, k, _ in seen if e == end)
    known = max([first, *(k for _, _, k, _ in inside[longest])])
    return end, known, {w: functions(rows) for w, rows in inside.items()}


def functions(rows):
    """Returns function → value over (key, event, known, value) rows."""
    values = [v for *_, v in rows if v is not None and not math.isnan(v)]
    last = max(((e, k, v) for _, e, k, v in rows if v is not None and not math.isnan(v)), default=None)
    total = float(sum(map(Fraction, values))) if values else None
    return {
        "rows": len(rows),
        "count": len(values),
        "sum": total,
        "mean": total / len(values) if values else None,
        "min": min(values, default=None),
        "max": max(values, default=None),
        "stddev": statistics.stdev(map(Fraction, values)) if len(values) > 1 else None,
        "last": last[2] if last else None,
        "count_distinct": len(set(values)),
    }
