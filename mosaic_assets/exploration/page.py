"""The page: one HTML file that shows a table, and opens without any server or network."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pyarrow as pa

from mosaic_assets.exploration.sections import split_section, target_section, time_section

__all__ = ["Subject", "exploration_page", "save_page"]

NUM_KEPT = 3
STYLE = """
body { font: 15px system-ui, sans-serif; margin: 2rem auto; max-width: 1200px; padding: 0 1rem; color: #1d2433 }
h1 { margin-bottom: .2rem } h2 { margin-top: 2.2rem } small { color: #6b7280 }
table { border-collapse: collapse; font-size: 13px }
td, th { padding: 3px 10px; text-align: left; border-bottom: 1px solid #e5e7eb }
.charts { display: flex; flex-wrap: wrap; gap: 1.2rem } figure { margin: 0 }
figcaption { font-size: 13px; font-weight: 600 } summary { cursor: pointer; color: #3267c9 }
svg text { font-size: 8px; fill: #6b7280 }
"""


@dataclass(frozen=True)
class Subject:
    """What is shown.

    Args:
        name: Table.
        version: Its version.
        num_rows: Rows of the whole table.
        label: Label column, if any.
        split: Column of the split, if any.
        time: Time column, if any.
        columns: Columns that are related to label, split and time.
    """

    name: str
    version: int
    num_rows: int
    label: str | None = None
    split: str | None = None
    time: str | None = None
    columns: Sequence[str] = ()


def exploration_page(subject: Subject, rows: pa.Table) -> str:
    """Returns the page: relation to the label, by split, over time, then types, distributions, missing, associations.

    Args:
        subject: What is shown.
        rows: The rows that are looked at, usually a sample.
    """
    sections = [
        target_section(rows, subject.columns, subject.label) if subject.label else "",
        split_section(rows, subject.columns, subject.split) if subject.split else "",
        time_section(rows, subject.columns, subject.time, subject.label) if subject.time else "",
    ]
    seen = "all of them" if rows.num_rows == subject.num_rows else f"a sample of {rows.num_rows:,} by content"
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(subject.name)}</title>'
        f'<link rel="icon" href="data:,"><style>{STYLE}</style></head><body><h1>{escape(subject.name)}</h1>'
        f"<p>Version {subject.version}, {subject.num_rows:,} rows; this page looks at {seen}.</p>{''.join(sections)}"
        f"<h2>Columns</h2>{_columns(rows)}</body></html>"
    )


def save_page(folder: Path, subject: Subject, text: str) -> Path:
    """Writes the page below the folder and returns its file; the newest pages of a table are kept, older ones go."""
    place = folder / subject.name
    place.mkdir(parents=True, exist_ok=True)
    file = place / f"version-{subject.version}.html"
    draft = file.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(file)
    pages = sorted(place.glob("version-*.html"), key=lambda one: int(one.stem.partition("-")[2]), reverse=True)
    for old in pages[NUM_KEPT:]:
        old.unlink()
    return file


def _columns(rows: pa.Table) -> str:
    """Returns skrub's report: a sample, statistics, distributions, associations, all of it inside the page."""
    from skrub import TableReport

    shown = rows.select([name for name in rows.column_names if not pa.types.is_nested(rows.schema.field(name).type)])
    report = TableReport(
        shown.to_pandas(), verbose=0, plot_distributions=True, compute_associations=True, open_tab="stats"
    )
    text: str = report.html_snippet()
    return text
