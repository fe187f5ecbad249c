"""Whether a model may pass: declared thresholds in, reasons out."""

from collections.abc import Mapping
from dataclasses import dataclass

from mosaic_resources.errors import UserError

__all__ = ["Reason", "ValidationThreshold", "Verdict", "judge", "judge_change"]

ROUNDING = 1e-12


@dataclass(frozen=True)
class ValidationThreshold:
    """What a metric must reach; named as MLflow's ``MetricThreshold``.

    Args:
        threshold: The value that must be reached.
        min_absolute_change: By how much the baseline must be beaten; negative: by how much it may be missed.
        min_relative_change: The same as a share of the baseline.
        greater_is_better: Whether more is better.
    """

    threshold: float | None = None
    min_absolute_change: float | None = None
    min_relative_change: float | None = None
    greater_is_better: bool = True

    def __post_init__(self) -> None:
        if (self.threshold, self.min_absolute_change, self.min_relative_change) == (None, None, None):
            raise UserError(
                "A validation threshold demands nothing.",
                do="Give threshold, min_absolute_change or min_relative_change.",
            )


@dataclass(frozen=True)
class Reason:
    """One demand, and whether it was met."""

    metric: str
    passed: bool
    text: str


@dataclass(frozen=True)
class Verdict:
    """All demands together. No demand, no pass: a gate that asks nothing decides nothing."""

    reasons: tuple[Reason, ...]

    @property
    def passed(self) -> bool:
        """Whether there was a demand, and every one was met."""
        return bool(self.reasons) and all(reason.passed for reason in self.reasons)

    def __str__(self) -> str:
        return "; ".join(reason.text for reason in self.reasons) or "nothing was demanded"


def judge(thresholds: Mapping[str, ValidationThreshold], metrics: Mapping[str, float | None]) -> Verdict:
    """Returns whether a model reaches its absolute thresholds.

    Args:
        thresholds: Metric → demand.
        metrics: Metric → value; one that is absent or None fails its demand, it is never taken as 0.
    """
    reasons = []
    for metric, demand in thresholds.items():
        if demand.threshold is not None:
            reasons.append(_reason(metric, metrics.get(metric), demand.threshold, demand, "threshold"))
    return Verdict(tuple(reasons))


def judge_change(
    thresholds: Mapping[str, ValidationThreshold],
    candidate: Mapping[str, float | None],
    baseline: Mapping[str, float | None],
) -> Verdict:
    """Returns whether a candidate beats a baseline by what is demanded; both were scored on the same rows.

    Args:
        thresholds: Metric → demand.
        candidate: Metrics of the candidate.
        baseline: Metrics of the model that it would replace.
    """
    reasons = []
    for metric, demand in thresholds.items():
        value, base = candidate.get(metric), baseline.get(metric)
        sign = 1.0 if demand.greater_is_better else -1.0
        for name, change, size in (
            ("min_absolute_change", demand.min_absolute_change, 1.0),
            ("min_relative_change", demand.min_relative_change, abs(base) if base is not None else 0.0),
        ):
            if change is None:
                continue
            if base is None or size == 0.0:
                reasons.append(
                    Reason(metric, False, f"{metric}: the baseline has {_shown(base)}, no change can be told")
                )
            else:
                reasons.append(
                    _reason(
                        metric,
                        value,
                        base + sign * change * size,
                        demand,
                        f"baseline {_shown(base)}, {name} {change:g}",
                    )
                )
    return Verdict(tuple(reasons))


def _reason(metric: str, value: float | None, bound: float, demand: ValidationThreshold, why: str) -> Reason:
    if value is None or value != value:
        return Reason(metric, False, f"{metric}: the model has {_shown(value)}, {why}")
    # 0.8 + 0.1 × 0.8 is 0.8800000000000001: a sum that misses by its rounding alone is met.
    slack = ROUNDING * max(1.0, abs(bound))
    passed = value >= bound - slack if demand.greater_is_better else value <= bound + slack
    wanted = "at least" if demand.greater_is_better else "at most"
    return Reason(
        metric, passed, f"{metric} {value:.4f}, {wanted} {bound:.4f} wanted ({why}): {'passed' if passed else 'failed'}"
    )


def _shown(value: float | None) -> str:
    return "no value" if value is None else f"{value:.4f}"
