"""Plots for Dagster's metadata, as PNG bytes."""

import io
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["drift_over_time", "quality_over_time"]

NUM_LINES = 8
INCHES = (8.0, 3.6)
DPI = 110


def drift_over_time(
    series: Mapping[str, Sequence[tuple[datetime, float]]], *, metric: str, threshold: float, title: str
) -> bytes:
    """Returns a PNG of the columns that drift most, a line for each, over the windows; logarithmic.

    Args:
        series: Column → (window start, value) pairs in order of time.
        metric: Name of the metric, for the axis.
        threshold: Declared threshold, drawn as a line.
        title: Title of the plot.
    """
    worst = sorted(series, key=lambda name: -max((value for _, value in series[name]), default=0.0))[:NUM_LINES]

    def draw(axes: "Axes") -> None:
        for name in worst:
            axes.plot(*_columns(series[name]), marker="o", markersize=3, linewidth=1.3, label=name)
        axes.axhline(threshold, color="black", linestyle="--", linewidth=1, label=f"threshold {threshold:g}")
        axes.set_yscale("symlog", linthresh=0.1)
        axes.set_ylabel(metric.replace("_", " "))

    return _png(draw, title)


def quality_over_time(series: Mapping[str, Sequence[tuple[datetime, float]]], *, metric: str, title: str) -> bytes:
    """Returns a PNG of one quality figure over the windows, a line for each model version."""

    def draw(axes: "Axes") -> None:
        for version in sorted(series):
            axes.plot(*_columns(series[version]), marker="o", markersize=3, label=f"version {version}")
        axes.set_ylabel(metric.replace("_", " "))

    return _png(draw, title)


def _columns(points: Sequence[tuple[datetime, float]]) -> tuple[Any, Any]:
    return [when for when, _ in points], [value for _, value in points]


def _png(draw: Callable[["Axes"], None], title: str) -> bytes:
    from matplotlib.figure import Figure  # Without pyplot: no global state, no display.

    figure = Figure(figsize=INCHES, dpi=DPI, layout="constrained")
    axes = figure.subplots()
    draw(axes)
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.autofmt_xdate()
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()
