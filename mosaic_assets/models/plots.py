"""Pictures of a model, as PNG bytes."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mosaic_assets.models.curves import Point
from mosaic_assets.models.scores import calibration_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["as_markdown", "calibration_plot", "loss_plot", "roc_plot"]

Floats = npt.NDArray[Any]
# Name of the rows → (labels, probabilities).
Scored = Mapping[str, tuple[Floats, Floats]]


def loss_plot(points: Sequence[Point]) -> bytes:
    """Returns the curves of the loss over training."""
    names = {"loss/train/total": "training", "metrics/validation/log_loss": "validation"}
    figure, axes = _figure("batch", "log loss")
    for name, label in names.items():
        curve = [(point.step, point.value) for point in points if point.name == name]
        if curve:
            axes.plot(*zip(*curve, strict=True), label=label, marker="o" if len(curve) < 20 else None)
    return _png(figure, axes)


def roc_plot(scored: Scored) -> bytes:
    """Returns the ROC curve of each set of rows that holds both classes."""
    from sklearn.metrics import roc_auc_score, roc_curve

    figure, axes = _figure("false positive rate", "true positive rate")
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for name, (label, probability) in scored.items():
        if 0 < label.sum() < len(label):
            false_positive, true_positive, _ = roc_curve(label, probability)
            axes.plot(false_positive, true_positive, label=f"{name}: {roc_auc_score(label, probability):.4f}")
    return _png(figure, axes)


def calibration_plot(scored: Scored) -> bytes:
    """Returns the share of label 1 over the mean probability, by tenths of the rows."""
    figure, axes = _figure("mean probability", "share of label 1")
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for name, (label, probability) in scored.items():
        table = calibration_table(label, probability)
        axes.plot(
            [row["mean_probability"] for row in table], [row["positive_share"] for row in table], marker="o", label=name
        )
    return _png(figure, axes)


def as_markdown(png: bytes, title: str) -> str:
    """Returns Markdown that shows a picture where no file can be linked, as in Dagster's metadata."""
    import base64

    return f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})"


def _figure(x: str, y: str) -> "tuple[Any, Axes]":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Not through pyplot: that keeps every figure, and picks a backend for the whole process.
    figure = Figure(figsize=(5, 3.6), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    return figure, axes


def _png(figure: Any, axes: "Axes") -> bytes:
    if np.any(axes.get_legend_handles_labels()[1]):
        axes.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
