"""The page of what a step has made, linked from its metadata."""

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec

import pyarrow as pa

from mosaic_assets.exploration.page import Subject, exploration_page, save_page
from mosaic_assets.exploration.sample import sample_rows
from mosaic_assets.work import Link, Made, Work
from mosaic_resources.errors import missing_extra

__all__ = ["PAGES", "explored"]

PAGES = "exploration"  # folder below the state folder
MAX_ROWS = 10_000
OWN = ("split", "fold")


def explored(
    work: Work, run: Callable[[Work], Made], label: str | None = None, timestamp_field: str | None = None
) -> Made:
    """Returns what the step made, with a link to a page that shows it.

    Args:
        work: The step.
        run: What the step does; it makes a table.
        label: Label column, if the table has one.
        timestamp_field: Time column; default: the table's first time, if any.

    Raises:
        DependencyError: skrub is not installed; nothing was run.
    """
    if find_spec("skrub") is None:
        raise missing_extra("skrub", "explore")
    made = run(work)
    if made.table is None or not isinstance(made.version, int):
        return made
    handle = work.seams.lake.open(made.table, made.version)
    rows, num_rows = sample_rows(handle.to_pyarrow_dataset().to_batches(), MAX_ROWS)
    if rows is None or not num_rows:
        return made
    left_out = {label, timestamp_field, *OWN}
    shown = [one for one in rows.schema if not one.name.startswith("_") and not pa.types.is_nested(one.type)]
    times = [one.name for one in shown if pa.types.is_timestamp(one.type)]
    columns = [one.name for one in shown if one.name not in left_out]
    subject = Subject(
        made.table, made.version, num_rows, label, "split" if "split" in rows.column_names else None,
        timestamp_field or next(iter(times), None), columns,
    )  # fmt: skip
    page = save_page(work.seams.settings.state / PAGES, subject, exploration_page(subject, rows))
    return replace(made, metadata={**made.metadata, "exploration": Link(page.as_uri())})
