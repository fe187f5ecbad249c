"""Distances between two distributions given as counts over the same bins or categories.

All are pure functions of counts. None yields a p-value: over ten thousands of rows every real month is
"significantly" different, and a p-value computed from a sketch is wrong besides. What counts is the size of the effect.
"""

import math

import numpy as np
import numpy.typing as npt

__all__ = [
    "binned",
    "chi_squared_statistic",
    "js_distance",
    "ks_distance",
    "population_stability_index",
    "quantile_edges",
    "tv_distance",
    "wasserstein_distance",
]

Floats = npt.NDArray[np.float64]
# Share that stands for an empty bin, as in Evidently and most PSI tables; without it one empty bin makes PSI infinite.
EMPTY_SHARE = 1e-4


def quantile_edges(values: Floats, num_bins: int) -> Floats:
    """Returns the inner edges of bins with about equal counts.

    Args:
        values: (values,) finite, not empty.
        num_bins: Wanted number of bins; ties may leave fewer.

    Returns:
        (edges,) strictly ascending. Where the smallest value is an edge, the float below it is one too, so that what
        falls below the range does not share the bin of the smallest value.
    """
    edges = np.unique(np.quantile(values, np.arange(1, num_bins) / num_bins, method="inverted_cdf"))
    lowest = values.min()
    return np.concatenate(([np.nextafter(lowest, -np.inf)], edges)) if edges[0] == lowest else edges


def binned(values: Floats, edges: Floats) -> Floats:
    """Returns the exact counts in ``(-inf, e0], (e0, e1], … (en, inf)``; (edges + 1,). NaN is not counted."""
    kept = values[~np.isnan(values)]
    return np.bincount(np.searchsorted(edges, kept, side="left"), minlength=len(edges) + 1).astype(np.float64)


def population_stability_index(reference: Floats, current: Floats) -> float | None:
    """Returns the PSI, sum of (q - p) ln(q / p); 0 for equal shares, symmetric, > 0.2 is commonly called a shift.

    Args:
        reference: (bins,) counts.
        current: (bins,) counts over the same bins.

    Returns:
        None where one side has no counts.

    Source: Siddiqi, Credit Risk Scorecards (2006). It is the symmetrised Kullback-Leibler divergence.

    Example:
        >>> round(population_stability_index(np.array([50.0, 50.0]), np.array([60.0, 40.0])), 4)
        0.0405
    """
    shares = _shares(reference, current)
    if shares is None:
        return None
    p, q = (np.maximum(side, EMPTY_SHARE) for side in shares)
    return float(np.sum((q - p) * np.log(q / p)))


def ks_distance(reference: Floats, current: Floats) -> float | None:
    """Returns the largest gap between the two cumulative shares at the bins' edges; 0 to 1.

    It never exceeds the distance of the values themselves, and falls short of it by at most the largest share of a bin.

    Args:
        reference: (bins,) counts over ordered bins.
        current: (bins,) counts over the same bins.
    """
    shares = _shares(reference, current)
    return None if shares is None else _bounded(np.abs(np.cumsum(shares[0] - shares[1])).max())


def tv_distance(reference: Floats, current: Floats) -> float | None:
    """Returns the total variation distance, half the sum of |p - q|; 0 to 1."""
    shares = _shares(reference, current)
    return None if shares is None else _bounded(0.5 * np.abs(shares[0] - shares[1]).sum())


def js_distance(reference: Floats, current: Floats) -> float | None:
    """Returns the Jensen-Shannon distance: square root of the divergence in bits; 0 to 1.

    Source: Endres and Schindelin, A new metric for probability distributions (2003).
    """
    shares = _shares(reference, current)
    if shares is None:
        return None
    middle = (shares[0] + shares[1]) / 2
    divergence = sum(_kl_bits(side, middle) for side in shares) / 2
    return math.sqrt(_bounded(divergence))


def chi_squared_statistic(reference: Floats, current: Floats) -> float | None:
    """Returns Pearson's statistic of homogeneity of the 2 x bins table; grows with the number of rows.

    Bins that are empty on both sides are left out.
    """
    if _shares(reference, current) is None:
        return None
    seen = np.stack([reference, current])[:, (reference + current) > 0]  # (2, bins)
    expected = seen.sum(axis=1, keepdims=True) * seen.sum(axis=0, keepdims=True) / seen.sum()
    return float(((seen - expected) ** 2 / expected).sum())


def wasserstein_distance(reference: Floats, current: Floats, edges: Floats) -> float | None:
    """Returns the area between the two cumulative shares from the first to the last edge, in the column's unit.

    Values beyond the edges count as if they lay on them, so that one absurd value does not decide the figure.

    Args:
        reference: (edges + 1,) counts.
        current: (edges + 1,) counts.
        edges: (edges,) ascending.
    """
    shares = _shares(reference, current)
    if shares is None:
        return None
    gaps = np.cumsum(shares[0] - shares[1])[:-1]  # (edges,) signed, at each edge
    return float(np.sum((np.abs(gaps[:-1]) + np.abs(gaps[1:])) / 2 * np.diff(edges)))


def _shares(reference: Floats, current: Floats) -> tuple[Floats, Floats] | None:
    totals = reference.sum(), current.sum()
    return None if min(totals) <= 0 else (reference / totals[0], current / totals[1])


def _kl_bits(share: Floats, other: Floats) -> float:
    held = share > 0
    return float(np.sum(share[held] * np.log2(share[held] / other[held])))


def _bounded(value: float) -> float:
    return float(min(max(value, 0.0), 1.0))
