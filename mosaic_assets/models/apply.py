"""Applies a model folder to rows of a dataset, through the same encoding and graph as the endpoint."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mosaic_assets.features.model_columns import model_columns
from mosaic_resources.bentos.model_folder import ModelFolder
from mosaic_resources.bentos.scoring import Scorer
from mosaic_resources.errors import UnknownNameError

__all__ = ["apply_model"]


def apply_model(model: ModelFolder, rows: pa.Table) -> npt.NDArray[np.float32]:
    """Returns the (rows,) probabilities of label 1.

    Args:
        model: The model.
        rows: Rows with every column that the model reads.

    Raises:
        UnknownNameError: A column is missing.
        ScoringError: The model gives no finite number for a row.
    """
    identity = model.identity
    for name in model.columns:
        if name not in rows.column_names:
            where = f"{identity.registered_model_name} version {identity.version}"
            raise UnknownNameError("column", name, rows.column_names, where)
    return Scorer(model, num_threads=2).score(model_columns({name: rows[name] for name in model.columns}))
