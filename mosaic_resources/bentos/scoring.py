"""One way from columns to probabilities, for the endpoint and for batches."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mosaic_resources.bentos.model_folder import ModelFolder
from mosaic_resources.errors import DependencyError, UserError, missing_extra

__all__ = ["Scorer", "ScoringError"]

Probabilities = npt.NDArray[np.float32]


class ScoringError(DependencyError):
    """The model gave no usable answer for these rows."""


class Scorer:
    """A loaded model.

    Args:
        folder: The model.
        num_threads: Threads within one call; 1 for an endpoint, whose concurrency is its requests.

    Raises:
        DependencyError: ``onnxruntime`` is not installed.
        UserError: The graph cannot be loaded, or is not of the agreed form.
    """

    def __init__(self, folder: ModelFolder, num_threads: int = 1) -> None:
        try:
            import onnxruntime as ort
        except ImportError as exc:
            raise missing_extra("onnxruntime", "serve") from exc
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = num_threads, 1
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(folder.graph), options, providers=["CPUExecutionProvider"])
        except Exception as exc:
            raise UserError(f"The graph cannot be loaded: {exc}", str(folder.graph)) from exc
        self.folder = folder
        self._inputs = [item.name for item in self._session.get_inputs()]
        outputs = [item.name for item in self._session.get_outputs()]
        if not set(self._inputs) <= {"numeric", "categorical"} or "probability" not in outputs:
            raise UserError(
                f"The graph maps {self._inputs} to {outputs}.",
                str(folder.graph),
                "Inputs: numeric, categorical; output: probability.",
            )

    def score(self, columns: Mapping[str, npt.NDArray[Any]]) -> Probabilities:
        """Returns the probability of each row.

        Args:
            columns: Every column of the encoding, each (rows,); missing values as NaN, NaT or None.

        Returns:
            (rows,) float32 in [0, 1].

        Raises:
            ScoringError: The model failed, or a probability is not finite.
        """
        numeric, categorical = self.folder.encoding.encode(columns)
        feed = {"numeric": numeric, "categorical": categorical}
        try:
            (answer,) = self._session.run(["probability"], {name: feed[name] for name in self._inputs})
        except Exception as exc:
            raise ScoringError(f"The model failed: {exc}", str(self.folder.graph)) from exc
        probability: Probabilities = np.asarray(answer, np.float32).reshape(-1)
        if probability.shape != (len(numeric),) or not np.isfinite(probability).all():
            raise ScoringError("The model's answer is not one finite number for each row.", str(self.folder.graph))
        return probability
