"""A baseline from rows: fixed edges, exact counts, and how far the rows' own windows are apart."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.monitors.baseline import Baseline, ColumnBaseline
from mosaic_assets.monitors.columns import is_numeric, is_text, numbers_of, texts_of
from mosaic_assets.monitors.drift import binned, quantile_edges
from mosaic_assets.monitors.windows import Granularity, window_starts
from mosaic_resources.errors import UnknownNameError, UserError

__all__ = ["fit_baseline"]

NUM_BINS = 10
NUM_FINE_BINS = 200
MAX_CATEGORIES = 50
MAX_KNOWN_TEXTS = 20_000
MIN_WINDOW_ROWS = 200  # below it the PSI of ten bins is noise of 0.05 and more


def fit_baseline(
    table: pa.Table,
    columns: Sequence[str],
    *,
    baseline_id: str,
    model_version: str = "",
    timestamp_col: str | None = None,
    granularity: Granularity = "1 month",
) -> Baseline:
    """Returns the baseline of some rows, usually those that the champion was fitted on.

    With ``timestamp_col`` each of the rows' own windows is compared with the other ones, and the largest distance is
    kept as ``within``: how far apart months are that the model has learnt from. A later month raises an alarm only
    where it is further off than that (and over the declared threshold), so a season that was in training is no alarm.

    Args:
        table: The rows.
        columns: Columns to watch.
        baseline_id: Identity of the rows.
        model_version: The champion.
        timestamp_col: Column of the rows' time; None: no windows of its own.
        granularity: Length of the windows.

    Raises:
        UserError: There are no rows, or a column is of no kind that drift is measured on.
        UnknownNameError: The table has no such column.
    """
    if table.num_rows == 0:
        raise UserError("A baseline needs rows.", baseline_id, "Train the champion first.")
    for name in [*columns, *([timestamp_col] if timestamp_col else [])]:
        if name not in table.column_names:
            raise UnknownNameError("column", name, table.column_names, baseline_id)
    starts = window_starts(table.column(timestamp_col), granularity) if timestamp_col else None
    made = tuple(_column(name, table.column(name), starts) for name in columns)
    return Baseline(id=baseline_id, model_version=model_version, granularity=granularity, columns=made)


def _column(name: str, values: pa.ChunkedArray, starts: pa.ChunkedArray | None) -> ColumnBaseline:
    if is_numeric(values.type):
        made = _numeric(name, values)
    elif is_text(values.type):
        made = _categorical(name, values)
    else:
        raise UserError(f"Column '{name}' is {values.type}; drift is of numbers and texts.", do="Leave it out.")
    return made if starts is None else made.model_copy(update={"within": _within(made, values, starts)})


def _numeric(name: str, values: pa.ChunkedArray) -> ColumnBaseline:
    numbers = numbers_of(values)
    assert numbers is not None
    finite = numbers[np.isfinite(numbers)]
    edges, fine = (quantile_edges(finite, bins) if len(finite) else np.zeros(1) for bins in (NUM_BINS, NUM_FINE_BINS))
    return ColumnBaseline(
        name=name,
        kind="numeric",
        num_rows=len(values),
        num_missing=values.null_count + int(np.isnan(numbers).sum()),
        edges=tuple(edges.tolist()),
        counts=tuple(binned(finite, edges).tolist()),
        fine_edges=tuple(fine.tolist()),
        fine_counts=tuple(binned(finite, fine).tolist()),
    )


def _categorical(name: str, values: pa.ChunkedArray) -> ColumnBaseline:
    texts = texts_of(values)
    assert texts is not None
    top = tuple(texts)[:MAX_CATEGORIES]
    rest = sum(texts.values()) - sum(texts[text] for text in top)
    return ColumnBaseline(
        name=name,
        kind="categorical",
        num_rows=len(values),
        num_missing=values.null_count,
        categories=top,
        counts=(*(float(texts[text]) for text in top), float(rest)),
        known_texts=tuple(sorted(texts)) if len(texts) <= MAX_KNOWN_TEXTS else None,
    )


def _within(column: ColumnBaseline, values: pa.ChunkedArray, starts: pa.ChunkedArray) -> dict[str, float]:
    whole, worst = column.held, dict[str, float]()
    for start in pc.unique(starts.drop_null()):
        part = column.count(values.filter(pc.equal(starts, start)))
        if min(part.num_rows, whole.num_rows - part.num_rows) < MIN_WINDOW_ROWS:
            continue
        for metric, value in column.distances(part, reference=whole - part).values().items():
            worst[metric] = max(worst.get(metric, 0.0), abs(value))
    return worst
