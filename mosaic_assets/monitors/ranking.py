"""Area under the ROC curve, and the interval of the difference between two models on the same rows."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from mosaic_resources.errors import InternalError

__all__ = ["AucDifference", "auc_difference", "roc_auc"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class AucDifference:
    """Challenger's AUC minus champion's, with its standard error and interval."""

    champion: float
    challenger: float
    difference: float
    standard_error: float
    low: float
    high: float


def roc_auc(labels: Bools, scores: Floats) -> float | None:
    """Returns the probability that a positive row scores above a negative one, ties counting half.

    Args:
        labels: (rows,) bool.
        scores: (rows,) float, no NaN.

    Returns:
        None where one class is absent: 0.0 would look like a very bad model.

    Example:
        >>> roc_auc(np.array([False, True, True]), np.array([0.1, 0.1, 0.9]))
        0.75
    """
    num_positive = int(labels.sum())
    num_negative = len(labels) - num_positive
    if not num_positive or not num_negative:
        return None
    rank_sum = _midranks(scores)[labels].sum()
    return float((rank_sum - num_positive * (num_positive + 1) / 2) / (num_positive * num_negative))


def auc_difference(
    labels: Bools,
    champion: Floats,
    challenger: Floats,
    groups: npt.NDArray[np.generic] | None = None,
    confidence: float = 0.95,
) -> AucDifference | None:
    """Returns the difference of two models' AUC on the same rows, with a two-sided interval.

    DeLong's variance takes rows as independent; flights of one day are not (one storm delays them all). With ``groups``
    the variance is Obuchowski's, whose unit is the group; without, each row is its own group, which is DeLong's.

    Args:
        labels: (rows,) bool.
        champion: (rows,) scores.
        challenger: (rows,) scores of the same rows.
        groups: (rows,) any sortable value, for instance the day; None: rows are independent.
        confidence: Of the interval.

    Returns:
        None where one class is absent, or there are fewer than two groups.

    Source: DeLong, DeLong, Clarke-Pearson (1988); Obuchowski, Biometrics 53 (1997); midranks by Sun and Xu (2014).
    """
    if not len(labels) == len(champion) == len(challenger):
        raise InternalError("Two models are compared on different rows.")
    codes = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    num_groups = int(codes.max(initial=-1)) + 1
    areas = roc_auc(labels, champion), roc_auc(labels, challenger)
    if areas[0] is None or areas[1] is None or num_groups < 2:
        return None
    new, old = _components(labels, challenger), _components(labels, champion)
    positive, negative = new[0] - old[0], new[1] - old[1]
    difference = areas[1] - areas[0]
    error = float(np.sqrt(max(_grouped_variance(positive, negative, codes[labels], codes[~labels], num_groups), 0.0)))
    reach = NormalDist().inv_cdf(0.5 + confidence / 2) * error
    return AucDifference(areas[0], areas[1], difference, error, difference - reach, difference + reach)


def _components(labels: Bools, scores: Floats) -> tuple[Floats, Floats]:
    """For each positive the share of negatives below it; for each negative the share of positives above it."""
    ranks = _midranks(scores)
    positive, negative = scores[labels], scores[~labels]
    below = (ranks[labels] - _midranks(positive)) / len(negative)  # (positives,)
    above = 1.0 - (ranks[~labels] - _midranks(negative)) / len(positive)  # (negatives,)
    return below, above


def _grouped_variance(
    positive: Floats,
    negative: Floats,
    positive_group: npt.NDArray[np.intp],
    negative_group: npt.NDArray[np.intp],
    num_groups: int,
) -> float:
    num_positive, num_negative = len(positive), len(negative)
    # (groups,) sums of what each group's rows add to the estimate, around the mean
    by_positive = np.bincount(positive_group, positive - positive.mean(), num_groups)
    by_negative = np.bincount(negative_group, negative - negative.mean(), num_groups)
    with_positive, with_negative = len(np.unique(positive_group)), len(np.unique(negative_group))
    return float(
        _small_sample(with_positive) * (by_positive**2).sum() / num_positive**2
        + _small_sample(with_negative) * (by_negative**2).sum() / num_negative**2
        + 2 * _small_sample(num_groups) * (by_positive * by_negative).sum() / (num_positive * num_negative)
    )


def _small_sample(num_groups: int) -> float:
    return num_groups / (num_groups - 1) if num_groups > 1 else 1.0


def _midranks(values: Floats) -> Floats:
    """Returns ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)  # (distinct,) rank of the last of equal values
    return (last - (counts - 1) / 2)[inverse]
