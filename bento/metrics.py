"""Counters of one endpoint process, and their Prometheus text."""

from collections import Counter
from collections.abc import Iterable, Mapping

__all__ = ["Metrics"]

# Upper bounds in seconds; an answer takes about a millisecond.
BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
Labels = tuple[tuple[str, str], ...]
HELP = {
    "mosaic_requests_total": "Answered requests.",
    "mosaic_predictions_total": "Rows that got a prediction.",
    "mosaic_missing_features_total": "Rows whose feature was unknown, not yet known or past its TTL.",
    "mosaic_log_lost_total": "Answers that could not be logged and left nevertheless.",
    "mosaic_version_switches_total": "Versions put in place while running.",
    "mosaic_version_switch_failures_total": "Versions that could not be loaded; the old one went on.",
}


class Metrics:
    """Counts in memory; the event loop is the only thread that touches it."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[Labels]] = {name: Counter() for name in HELP}
        self._buckets = [0] * (len(BUCKETS) + 1)
        self._sum_seconds = 0.0

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Adds to a counter of ``HELP``."""
        self._counts[name][tuple(sorted(labels.items()))] += amount

    def observe(self, seconds: float) -> None:
        """Adds one request's duration."""
        self._sum_seconds += seconds
        self._buckets[next((i for i, bound in enumerate(BUCKETS) if seconds <= bound), len(BUCKETS))] += 1

    def value(self, name: str, **labels: str) -> int:
        """Returns a counter; without labels the sum over all."""
        wanted = tuple(sorted(labels.items()))
        counts = self._counts[name]
        return counts[wanted] if wanted else counts.total()

    def text(self, info: Mapping[str, str]) -> str:
        """Returns the Prometheus exposition, version 0.0.4.

        Args:
            info: Labels of ``mosaic_model_info``, which is always 1.
        """
        lines = ["# HELP mosaic_model_info The version that answers.", "# TYPE mosaic_model_info gauge"]
        lines.append(f"mosaic_model_info{_braces(info.items())} 1")
        for name, counts in self._counts.items():
            lines += [f"# HELP {name} {HELP[name]}", f"# TYPE {name} counter"]
            lines += [f"{name}{_braces(labels)} {value}" for labels, value in sorted(counts.items())] or [f"{name} 0"]
        return "\n".join([*lines, *self._histogram()]) + "\n"

    def _histogram(self) -> list[str]:
        name, total = "mosaic_request_duration_seconds", 0
        lines = [f"# HELP {name} Time from the first byte read to the answer.", f"# TYPE {name} histogram"]
        for bound, count in zip([*map(str, BUCKETS), "+Inf"], self._buckets, strict=True):
            total += count
            lines.append(f'{name}_bucket{{le="{bound}"}} {total}')
        return [*lines, f"{name}_sum {self._sum_seconds}", f"{name}_count {total}"]


def _braces(labels: Iterable[tuple[str, str]]) -> str:
    escaped = [(key, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")) for key, value in labels]
    inside = ",".join(f'{key}="{value}"' for key, value in escaped)
    return f"{{{inside}}}" if inside else ""
