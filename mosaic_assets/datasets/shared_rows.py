"""Rows and entities that are in more than one split: what is tested was learnt by heart."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.datasets.splits import SPLIT_COLUMN, SPLITS
from mosaic_assets.key_hash import key_hash, xxhash64

__all__ = ["divided_groups", "shared_rows", "twins"]

# Two rows are equal by chance at odds of 1 to 2 ** MARGIN_BITS over all pairs, were the columns independent.
MARGIN_BITS = 10.0


def divided_groups(rows: pa.Table, group_by: Sequence[str]) -> Iterator[str]:
    """Yields a sentence where rows of one group are in several splits.

    Args:
        rows: Rows with the column ``split``.
        group_by: Columns that make a group.
    """
    if not group_by:
        return
    number = np.asarray(pc.index_in(rows[SPLIT_COLUMN], value_set=pa.array(SPLITS)))
    groups, position = np.unique(key_hash(rows, group_by, "group"), return_inverse=True)
    in_split = np.zeros((len(groups), len(SPLITS)), bool)
    in_split[position, number] = True
    if divided := int((in_split.sum(axis=1) > 1).sum()):
        yield f"{divided:,} of {len(groups):,} groups of {', '.join(group_by)} have rows in more than one split."


def shared_rows(rows: pa.Table, columns: Sequence[str], max_share: float) -> tuple[list[str], dict[str, float]]:
    """Returns sentences for splits whose rows equal rows of an earlier split, and the share of such rows by split.

    Args:
        rows: Rows with the column ``split``.
        columns: What a row is compared by: all that a model may read.
        max_share: Share of a held-out split's rows that may have a twin.
    """
    shares: dict[str, float] = {}
    problems = []
    twin = twins(rows, columns)
    for name in SPLITS[1:]:
        inside = np.asarray(pc.equal(rows[SPLIT_COLUMN], name))
        if not inside.any():
            continue
        shares[name] = float(twin[inside].mean())
        if shares[name] > max_share:
            problems.append(
                f"{int(twin[inside].sum()):,} of {int(inside.sum()):,} rows of '{name}' equal one of an earlier split "
                f"in all {len(columns)} columns: drop the copies, or keep them together by 'group_by'."
            )
    return problems, shares


def twins(rows: pa.Table, columns: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Returns (rows,) whether a row of an earlier split has the same values, so many that it is no accident.

    Rows of few or common values are equal by chance. A row counts only where its values carry more bits, each column's
    value by its own frequency, than it takes to tell all pairs of rows apart (twice the logarithm of their number).

    Args:
        rows: Rows with the column ``split``.
        columns: Columns to compare.
    """
    order = np.asarray(pc.index_in(rows[SPLIT_COLUMN], value_set=pa.array(SPLITS)))
    if not columns or not rows.num_rows:
        return np.zeros(rows.num_rows, bool)
    hashes = [xxhash64([rows[name]]) for name in columns]
    whole = xxhash64([pa.chunked_array([pa.array(values)]) for values in hashes])
    _, position = np.unique(whole, return_inverse=True)
    earliest = np.full(int(position.max()) + 1, len(SPLITS))
    np.minimum.at(earliest, position, order)
    candidate = earliest[position] < order
    if candidate.any():
        candidate[candidate] = _bits(hashes, candidate) >= 2 * np.log2(rows.num_rows) + MARGIN_BITS
    return candidate


def _bits(hashes: Sequence[npt.NDArray[np.int64]], chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Returns (chosen rows,) bits of information of their values, the columns taken as independent."""
    bits = np.zeros(int(chosen.sum()))
    for values in hashes:
        _, position, counts = np.unique(values, return_inverse=True, return_counts=True)
        bits -= np.log2(counts[position[chosen]] / len(values))
    return bits
