"""Rows into parts by the hash of their keys: at random, by stratum, by group. Splits, folds and samples stand on it.

Each row's place depends on keys and salt alone: not on the order of rows, on files or on the engine.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mosaic_assets.key_hash import BUCKETS, buckets

__all__ = ["first_by_hash", "grouped_parts", "random_parts", "stratified_parts"]

Ints = npt.NDArray[np.int64]


def random_parts(hashes: Ints, shares: Sequence[float]) -> Ints:
    """Returns (rows,) the part of each row; a row keeps its part when rows are added.

    In Spark SQL a row is in the first part where ``pmod(xxhash64(<keys>, '<salt>'), 1000000) < 1000000 * share``.

    Args:
        hashes: (rows,) int64 of the keys.
        shares: Share of each part, 1 together; the parts hold about so many rows.

    Example:
        >>> random_parts(np.array([0, 699_999, 700_000, 999_999, -1]), (0.7, 0.3)).tolist()
        [0, 0, 1, 1, 1]
    """
    edges = np.round(np.cumsum(shares)[:-1] * BUCKETS).astype(np.int64)
    return np.searchsorted(edges, buckets(hashes), side="right")


def stratified_parts(hashes: Ints, strata: Ints, shares: Sequence[float]) -> Ints:
    """Returns (rows,) the part of each row; of each stratum each part holds its share to within one row.

    Args:
        hashes: (rows,) int64 of the keys, which are unique.
        strata: (rows,) int64, hash of the columns that make a stratum.
        shares: Share of each part, 1 together.
    """
    order = np.lexsort((hashes, strata))  # (rows,) by stratum, in it by hash
    first, size = _runs(strata[order])
    rank = np.arange(len(order)) - first
    # Rounding starts at another place in each stratum: else no row of the small ones would ever be held out.
    start = buckets(strata[order]) / BUCKETS
    edges = np.cumsum(shares)[:-1]
    parts = np.empty(len(order), np.int64)
    parts[order] = np.searchsorted(edges, (rank + start) / size, side="right")
    return parts


def grouped_parts(groups: Ints, shares: Sequence[float]) -> Ints:
    """Returns (rows,) the part of each row; all rows of a group are in one part.

    Groups are dealt out in order of their hash, each to the part that lacks most rows.

    Args:
        groups: (rows,) int64, hash of the columns that make a group.
        shares: Share of each part, 1 together; the parts come as near to it as the sizes of the groups allow.
    """
    _, position, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    lacking = [share * len(groups) for share in shares]
    part_of_group = np.empty(len(sizes), np.int64)
    for group, size in enumerate(sizes.tolist()):
        part_of_group[group] = part = max(range(len(lacking)), key=lacking.__getitem__)
        lacking[part] -= size
    return part_of_group[position] if len(sizes) else np.zeros(0, np.int64)


def first_by_hash(hashes: Ints, num_rows: int, strata: Ints | None = None) -> npt.NDArray[np.bool_]:
    """Returns (rows,) whether a row is among the ``num_rows`` that are drawn; a smaller draw lies in a larger one.

    Args:
        hashes: (rows,) int64 of the keys, which are unique.
        num_rows: Rows to draw.
        strata: (rows,) hash of a stratum: each gives its share of the draw, to within one row.
    """
    chosen = np.zeros(len(hashes), bool)
    if strata is None:
        chosen[np.argsort(hashes, kind="stable")[:num_rows]] = True
        return chosen
    order = np.lexsort((hashes, strata))
    first, _ = _runs(strata[order])
    rank = np.arange(len(order)) - first
    chosen[order] = rank < _quotas(strata[order], first, num_rows)[first]
    return chosen


def _quotas(ordered: Ints, first: Ints, num_rows: int) -> Ints:
    """Returns (rows,) how many rows the stratum that begins there gives; elsewhere 0."""
    starts = np.unique(first)
    sizes = np.diff(np.append(starts, len(ordered)))
    wanted = sizes * min(1.0, num_rows / max(len(ordered), 1))
    whole = np.floor(wanted).astype(np.int64)
    # What rounding down left over goes to the largest remainders, of equal ones to the smaller hash.
    left = min(num_rows, len(ordered)) - int(whole.sum())
    whole[np.lexsort((ordered[starts], whole - wanted))[:left]] += 1
    quotas = np.zeros(len(ordered), np.int64)
    quotas[starts] = whole
    return quotas


def _runs(ordered: Ints) -> tuple[Ints, Ints]:
    """Returns (rows,) where the run of equal values that a row is in begins, and how many rows it has."""
    begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else np.zeros(0, np.int64)
    sizes = np.diff(np.append(begins, len(ordered)))
    return np.repeat(begins, sizes), np.repeat(sizes, sizes)
