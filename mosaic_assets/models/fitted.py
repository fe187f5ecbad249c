"""What every kind of model can do, and what fitting one returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mosaic_assets.models.batches import Matrices
from mosaic_assets.models.curves import Point
from mosaic_assets.models.tuning import Trial
from mosaic_resources.bentos.encoding import Encoding

__all__ = ["Estimator", "FittedModel", "Scored"]

# (rows,) labels and (rows,) probabilities.
Scored = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


class Estimator(Protocol):
    """A model before and after it is fitted.

    Example:
        ``mosaic_assets.models.reference.Boosting`` is one over scikit-learn, ``…models.network_model.NetworkModel``
        the one over Composer. ``fit_model`` takes any callable that makes one from an encoding and settings.
    """

    def fit(self, training: Matrices, validation: Matrices | None = None) -> float:
        """Fits to the training rows and returns the seconds it took; validation rows are only measured on."""
        ...

    def probability(self, data: Matrices) -> npt.NDArray[np.float32]:
        """Returns the (rows,) probabilities of label 1."""
        ...

    def export(self, folder: Path, sample: Matrices) -> float:
        """Writes the model folder and returns how far its graph lies from the model on the sample rows."""
        ...


@dataclass(frozen=True)
class FittedModel:
    """A model that was chosen, refitted, scored and exported.

    Args:
        folder: The model folder, without its identity yet.
        encoding: How rows become matrices.
        settings: What the chosen trial changed in the declared settings.
        trials: All trials, in order.
        metrics: ``validation_<metric>``, ``test_<metric>``, and ``<metric>`` of the last of them.
        scored: Split → (labels, probabilities).
        num_rows: Split → rows.
        seconds: Wall time of the last fit.
        export_difference: How far the graph lies from the model.
        points: Curves of the last fit.
        fired: What ran in it, and how often.
    """

    folder: Path
    encoding: Encoding
    settings: Mapping[str, Any]
    trials: Sequence[Trial]
    metrics: Mapping[str, float]
    scored: Mapping[str, Scored]
    num_rows: Mapping[str, int]
    seconds: float
    export_difference: float
    points: Sequence[Point] = ()
    fired: Mapping[str, int] = field(default_factory=dict)
