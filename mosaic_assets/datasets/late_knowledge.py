"""What a row holds that nobody could know at its time."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.features.historical import known_times, microseconds
from mosaic_assets.features.views import FeatureService, FeatureView, column_name
from mosaic_assets.key_hash import xxhash64

__all__ = ["early_labels", "from_the_outcome", "later_times", "unknown_values"]

Lineage = Mapping[str, Sequence[tuple[str, str]]]
Ints = npt.NDArray[np.int64]


def early_labels(rows: pa.Table, timestamp_field: str, label_known_field: str) -> Iterator[str]:
    """Yields a sentence where labels were known before their rows' time: the question came after its answer."""
    early = int(pc.sum(pc.less(rows[label_known_field], rows[timestamp_field])).as_py() or 0)
    if early:
        yield (
            f"{early:,} rows are asked at '{timestamp_field}' after their label was known ('{label_known_field}'): "
            "ask earlier."
        )


def later_times(rows: pa.Table, columns: Sequence[str], timestamp_field: str) -> Iterator[str]:
    """Yields a sentence for each feature that is a time after its row's time: an event that had not happened yet.

    Args:
        rows: Rows with features.
        columns: Looked-up and computed features; what a request holds may well lie ahead.
        timestamp_field: The row's time.
    """
    for name in columns:
        if not pa.types.is_timestamp(rows.schema.field(name).type):
            continue
        later = pc.fill_null(pc.greater(rows[name], rows[timestamp_field]), False)
        if count := int(pc.sum(later).as_py() or 0):
            yield (
                f"'{name}' lies after the row's time in {count:,} rows: its view's known time is too early. "
                "If it is planned ahead, list it under 'known_ahead'."
            )


def from_the_outcome(
    request: Sequence[str], lineage: Lineage | None, timestamp_field: str, label_known_field: str
) -> Iterator[str]:
    """Yields a sentence for each request column that a table supplies which exists only once the label is known.

    That is a table from which the label's known time comes, and the row's time does not.

    Args:
        request: Columns that a request holds.
        lineage: Column of the query → (table, column) pairs that it comes from; None: not known.
        timestamp_field: The row's time.
        label_known_field: When the label became known.
    """
    tables = {name: {table for table, _ in sources} for name, sources in (lineage or {}).items()}
    if not tables.get(timestamp_field):
        return
    outcome = tables.get(label_known_field, set()) - tables[timestamp_field]
    for name in request:
        for table in sorted(tables.get(name, set()) & outcome):
            yield (
                f"The request column '{name}' comes from {table}, whose rows exist only once the label is known. "
                "If it is known before, list it under 'known_ahead'."
            )


def unknown_values(
    rows: pa.Table,
    service: FeatureService,
    read_view: Callable[[FeatureView], pa.Table],
    timestamp_field: str,
    ahead: Collection[str] = (),
) -> Iterator[str]:
    """Yields a sentence for each view of which rows hold values that no event had shown for their key by their time.

    It looks for the earliest event of the key with the very same values, known or not, and shares nothing with the
    join: a join that ignores known time is found, and so is one that takes another key's row.

    Args:
        rows: Rows with looked-up features.
        service: The features.
        read_view: Returns a view's rows at the version that was joined.
        timestamp_field: The row's time.
        ahead: Features to pass over.
    """
    at = microseconds(rows[timestamp_field], timestamp_field)
    for view, fields in service.views:
        used = [field.name for field in fields if column_name(view.name, field.name) not in ahead]
        columns = [column_name(view.name, name) for name in used]
        held = np.zeros(rows.num_rows, bool)
        for name in columns:
            held |= np.asarray(rows[name].is_valid())
        if not held.any():
            continue
        events = read_view(view)
        first, seen = _first_seen(events, view, used)
        mine = xxhash64([*(rows[key] for key in view.join_keys), *(rows[name] for name in columns)])[held]
        position = np.minimum(np.searchsorted(first, mine), max(len(first) - 1, 0))
        found = first[position] == mine if len(first) else np.zeros(len(mine), bool)
        late = found & (seen[position] > at[held]) if len(first) else found
        if late.any():
            hours = float((seen[position] - at[held])[late].max()) / 3.6e9
            yield (
                f"{int(late.sum()):,} of {rows.num_rows:,} rows hold values of view '{view.name}' that became known "
                f"after the row's time, up to {hours:.1f} hours later."
            )
        if (lost := int((~found).sum())) > 0:
            yield f"{lost:,} of {rows.num_rows:,} rows hold values of view '{view.name}' that its key never had."


def _first_seen(events: pa.Table, view: FeatureView, names: Sequence[str]) -> tuple[Ints, Ints]:
    """Returns (values,) hashes of key and values, ascending, and the (values,) time when each was first known."""
    hashes = xxhash64([*(events[key] for key in view.join_keys), *(events[name] for name in names)])
    event, known = known_times(view, events)
    visible = np.maximum(event, known)
    order = np.lexsort((visible, hashes))
    ordered = hashes[order]
    begins = np.r_[True, ordered[1:] != ordered[:-1]] if len(ordered) else np.zeros(0, bool)
    return ordered[begins], visible[order][begins]
