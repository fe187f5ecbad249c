"""Sections of the page that know of label, split and time: each returns HTML, empty where it has nothing to say."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.exploration.charts import bars, cell, line, table
from mosaic_assets.exploration.distance import column_codes, distribution_distance
from mosaic_assets.exploration.feature_strength import feature_strengths
from mosaic_assets.key_hash import xxhash64

__all__ = ["split_section", "target_section", "time_section"]

NUM_SHOWN = 12
MAX_TEXT = 12
Floats = npt.NDArray[np.float64]
# Longest span in days → unit of a period.
PERIODS = ((3, "hour"), (60, "day"), (365, "week"), (3650, "month"), (10**9, "year"))


def target_section(rows: pa.Table, columns: Sequence[str], label: str) -> str:
    """Returns how strongly each column alone tells the label, and the label's mean along the strongest ones.

    Args:
        rows: Rows; those without a label are left out.
        columns: Columns to relate to it.
        label: Label column.
    """
    rows = rows.filter(rows[label].is_valid())
    found = feature_strengths(rows, columns, label, xxhash64([rows[name] for name in columns if _plain(rows, name)]))
    if found is None:
        return f"<h2>Relation to {escape(label)}</h2><p>Too few rows of each class to say.</p>"
    measure, strengths = found
    ranked = sorted(strengths.items(), key=lambda one: (-one[1], one[0]))
    said = "area under the ROC curve, 0.5 is chance" if measure == "auc" else "share of the label's entropy explained"
    listed = table(["column", "strength"], [[escape(name), cell(float(value))] for name, value in ranked])
    numbers = _numbers(rows[label])
    charts = [_along(rows[name], numbers, name) for name, _ in ranked[:NUM_SHOWN]] if numbers is not None else []
    along = (
        f"<p>Mean of {escape(label)} (blue) and rows (grey), by tenths of the values or by category; the last bar is "
        f'missing.</p><div class="charts">{"".join(charts)}</div>'
    )
    return (
        f"<h2>Relation to {escape(label)}</h2><p>Of one column alone, on rows it was not counted on: {said}.</p>"
        f"{_fold('All columns by strength', listed)}{along if charts else ''}"
    )


def split_section(rows: pa.Table, columns: Sequence[str], split: str) -> str:
    """Returns each column's mean or most frequent value and missing share by split, and how far it is from training.

    Args:
        rows: Rows with the column ``split``.
        columns: Columns to compare.
        split: Column of the split; the first of train, validation, test that is there is what others are compared with.
    """
    present = set(pc.unique(rows[split]).to_pylist())
    names = [name for name in ("train", "validation", "test") if name in present]
    names += sorted(str(name) for name in present if name is not None and name not in names)
    if len(names) < 2:
        return ""
    parts = {name: rows.filter(pc.equal(rows[split], name)) for name in names}
    lines = []
    for column in columns:
        apart = [distribution_distance(parts[names[0]][column], parts[name][column]) for name in names[1:]]
        shown = [f"{_typical(parts[name][column])} <small>{_missing(parts[name][column])}</small>" for name in names]
        worst = max((value for value in apart if value is not None), default=-1.0)
        lines.append((worst, [escape(column), *shown, *(cell(value) for value in apart)]))
    lines.sort(key=lambda one: -one[0])
    head = [
        "column",
        *(f"{name} ({parts[name].num_rows:,})" for name in names),
        *(f"distance of {name}" for name in names[1:]),
    ]
    return (
        "<h2>By split</h2><p>Mean or most frequent value, missing share, and the total variation distance from "
        f"{escape(names[0])} (0: alike, 1: nothing in common).</p>{table(head, [line for _, line in lines])}"
    )


def time_section(rows: pa.Table, columns: Sequence[str], time: str, label: str | None = None) -> str:
    """Returns rows, label and columns over time.

    Args:
        rows: Rows; those without a time are left out.
        columns: Columns to follow: numbers by their mean, others by their missing share, if anything is missing.
        time: Time column.
        label: Label column, if any.
    """
    rows = rows.filter(rows[time].is_valid())
    if not rows.num_rows:
        return ""
    moments = pc.cast(rows[time], pa.timestamp("us", tz=getattr(rows[time].type, "tz", None)))
    limits = pc.min_max(moments).as_py()
    days = (limits["max"] - limits["min"]).total_seconds() / 86_400
    unit = next(name for most, name in PERIODS if days <= most)
    starts = pc.floor_temporal(moments, unit=unit)
    ordered = pc.unique(starts).sort()
    period = np.asarray(pc.index_in(starts, value_set=ordered), np.int64)
    form = "%Y-%m-%d %H:%M" if unit == "hour" else "%Y-%m-%d"
    labels = [moment.strftime(form) for moment in ordered.to_pylist()]
    counts = np.bincount(period, minlength=len(labels))
    lines = [["rows", line([float(count) for count in counts], labels), *_ends([float(count) for count in counts])]]
    for name in [*([label] if label else []), *columns]:
        numbers = _numbers(rows[name])
        means = _means(numbers, period, len(labels)) if numbers is not None else [None] * len(labels)
        gone = _means(np.asarray(pc.is_null(rows[name], nan_is_null=True)).astype(float), period, len(labels))
        lost = line(gone, labels, width=110) if any(gone) else "none"
        if numbers is None and not any(gone):
            continue
        lines.append([escape(name), line(means, labels) if numbers is not None else "", *_ends(means), lost])
    lines[0].append("")
    return f"<h2>Over time</h2><p>By {unit} of {escape(time)}.</p>" + table(
        ["column", "mean", "least", "most", "missing"], lines
    )


def _along(column: pa.ChunkedArray, numbers: Floats, name: str) -> str:
    coded = column_codes(_numeric_time(column), _numeric_time(column))
    if coded is None:
        return ""
    codes = coded[0]
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        counts = pc.value_counts(column.drop_null()).to_pylist()
        names = [item["values"] for item in sorted(counts, key=lambda item: (-item["counts"], item["values"]))]
        labels = [*names[:MAX_TEXT], "others", "missing"]
        codes = np.where(np.asarray(pc.is_null(column)), MAX_TEXT + 1, np.minimum(codes, MAX_TEXT))
        kept = [*range(min(len(names), MAX_TEXT)), MAX_TEXT, MAX_TEXT + 1]
    else:
        values = np.asarray(pc.fill_null(pc.cast(_numeric_time(column), pa.float64(), safe=False), np.nan))
        kept = sorted(set(codes.tolist()))
        labels = [_middle(values[codes == code], is_time=pa.types.is_temporal(column.type)) for code in kept]
    rows = [float((codes == code).sum()) for code in kept]
    means = [float(numbers[codes == code].mean()) if count else None for code, count in zip(kept, rows, strict=True)]
    pairs = [(mean, text, count) for mean, text, count in zip(means, labels, rows, strict=True) if count]
    if not pairs:
        return ""
    drawn = bars([pair[0] for pair in pairs], [pair[1] for pair in pairs], [pair[2] for pair in pairs])
    return f"<figure><figcaption>{escape(name)}</figcaption>{drawn}</figure>"


def _middle(values: Floats, *, is_time: bool) -> str:
    """Returns the median of a bin, in at most six characters."""
    known = values[~np.isnan(values)]
    if not len(known):
        return "missing"
    value = float(np.median(known))
    if is_time:
        return datetime.fromtimestamp(value / 1e6, UTC).strftime("%y%m%d")
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == 'k' else size):.3g}{unit}"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _numbers(column: pa.ChunkedArray) -> Floats | None:
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        return None
    return np.asarray(pc.fill_null(pc.cast(column, pa.float64(), safe=False), np.nan))


def _numeric_time(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_temporal(column.type):
        return column
    return pc.cast(pc.cast(column, pa.timestamp("us", tz=getattr(column.type, "tz", None))), pa.int64())


def _means(values: Floats, period: npt.NDArray[np.int64], num_periods: int) -> list[float | None]:
    known = np.isfinite(values)
    counts = np.bincount(period[known], minlength=num_periods)
    sums = np.bincount(period[known], values[known], minlength=num_periods)
    return [float(total / count) if count else None for total, count in zip(sums, counts, strict=True)]


def _typical(column: pa.ChunkedArray) -> str:
    numbers = _numbers(column)
    if numbers is not None:
        known = numbers[np.isfinite(numbers)]
        return cell(float(known.mean()) if len(known) else None)
    counts = pc.value_counts(column.drop_null()).to_pylist() if not pa.types.is_nested(column.type) else []
    if not counts:
        return "–"
    top = max(counts, key=lambda item: (item["counts"], str(item["values"])))
    return f"{cell(str(top['values'])[:24])} ({top['counts'] / len(column):.0%})"


def _missing(column: pa.ChunkedArray) -> str:
    gone = int(pc.sum(pc.is_null(column, nan_is_null=True)).as_py() or 0)
    return f"{gone / len(column):.1%} missing" if gone else ""


def _ends(values: Sequence[float | None]) -> list[str]:
    known = [value for value in values if value is not None]
    return [cell(min(known, default=None)), cell(max(known, default=None))]


def _plain(rows: pa.Table, name: str) -> bool:
    kind = rows.schema.field(name).type
    return not (pa.types.is_nested(kind) or pa.types.is_decimal(kind) or pa.types.is_binary(kind))


def _fold(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>"
