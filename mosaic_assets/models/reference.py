"""The reference: scikit-learn's histogram boosting on the same columns, under the same contract as the network."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mosaic_assets.models.batches import Matrices
from mosaic_assets.models.boosting_graph import write_boosting_graph
from mosaic_assets.models.export import LARGEST_DIFFERENCE, run_graph
from mosaic_assets.models.fitted import Estimator
from mosaic_resources.bentos.encoding import Encoding
from mosaic_resources.bentos.model_folder import ENCODING_FILE, GRAPH_FILE
from mosaic_resources.errors import InternalError, UserError

__all__ = ["Boosting"]

# The classifier counts categories in one byte; a wider column is given as its codes, most frequent first.
LARGEST_CARDINALITY = 255
NUM_THREADS = 1


class Boosting(Estimator):
    """``HistGradientBoostingClassifier`` with its own handling of missing values and categories.

    Args:
        encoding: Columns and vocabularies.
        arguments: Arguments of the classifier.
        seed: Decides what it draws.
    """

    def __init__(self, encoding: Encoding, arguments: Mapping[str, Any], seed: int) -> None:
        self.encoding, self.arguments, self.seed = encoding, dict(arguments), seed
        self._is_category = [cardinality <= LARGEST_CARDINALITY for cardinality in encoding.cardinalities]

    def fit(self, training: Matrices, validation: Matrices | None = None) -> float:
        """Fits, and returns the seconds it took; the validation rows are not looked at."""
        from sklearn.ensemble import HistGradientBoostingClassifier
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        began = time.perf_counter()
        # Without this, more than 10,000 rows turn on early stopping on rows drawn at random.
        given = {"early_stopping": False, "random_state": self.seed, **self.arguments}
        is_category = self._is_category + [False] * len(self.encoding.numeric)
        try:
            model = HistGradientBoostingClassifier(categorical_features=is_category, **given)
            # On a busy machine OpenMP's threads spin for each other: minutes instead of seconds.
            with threadpool_limits(NUM_THREADS, user_api="openmp"):
                self.model = model.fit(_rows(training), training.label)
        except (TypeError, ValueError) as exc:
            raise UserError(f"The classifier does not take this: {exc}", "reference") from exc
        return time.perf_counter() - began

    def probability(self, data: Matrices) -> npt.NDArray[np.float32]:
        """Returns the (rows,) probabilities of label 1."""
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        with threadpool_limits(NUM_THREADS, user_api="openmp"):
            return np.asarray(self.model.predict_proba(_rows(data))[:, 1], np.float32)

    def export(self, folder: Path, sample: Matrices) -> float:
        """Writes graph and encoding, and returns how far the graph lies from the classifier on the sample."""
        folder.mkdir(parents=True, exist_ok=True)
        write_boosting_graph(self.model, folder / GRAPH_FILE, len(self.encoding.numeric), self._is_category)
        (folder / ENCODING_FILE).write_text(self.encoding.to_json())
        found = run_graph(folder / GRAPH_FILE, sample.numeric, sample.categorical)
        difference = float(np.abs(found - self.probability(sample)).max(initial=0.0))
        if not difference <= LARGEST_DIFFERENCE:
            raise InternalError(
                f"The exported graph differs from the classifier by {difference:.2g}.", str(folder / GRAPH_FILE)
            )
        return difference


def _rows(data: Matrices) -> npt.NDArray[np.float32]:
    return np.hstack([data.categorical.astype(np.float32), data.numeric])
