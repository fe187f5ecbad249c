"""Scoring a table of rows with a model folder; the same encoding and graph as behind the endpoint."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa

from mosaic_assets.features.model_columns import model_columns
from mosaic_resources.bentos.model_folder import ModelFolder
from mosaic_resources.bentos.scoring import Scorer
from mosaic_resources.errors import UnknownNameError

__all__ = ["score_batch"]

ROWS_PER_CALL = 16_384


def score_batch(
    rows: pa.Table, model: ModelFolder, *, keep: Sequence[str], data_versions: Mapping[str, int], scored_at: datetime
) -> pa.Table:
    """Returns a prediction for each row.

    Args:
        rows: Rows with every column that the model reads, as in its dataset.
        model: The model.
        keep: Columns of ``rows`` to carry over: the entity's key, times, the label if it is known.
        data_versions: Table → Delta version that the rows were made from.
        scored_at: When this happens, aware.

    Returns:
        ``keep``, then ``probability`` double, ``prediction`` bigint (1 from the model's threshold on),
        ``registered_model_name``, ``model_version``, ``data_versions`` (JSON), ``scored_at``.

    Raises:
        UnknownNameError: A column is missing.
        ScoringError: The model gives no finite number for a row.
    """
    for name in (*keep, *model.columns):
        if name not in rows.column_names:
            raise UnknownNameError("column", name, rows.column_names, "rows to score")
    scorer = Scorer(model, num_threads=2)
    columns = model_columns({name: rows[name] for name in model.columns})
    parts = [
        scorer.score({name: values[begin : begin + ROWS_PER_CALL] for name, values in columns.items()})
        for begin in range(0, rows.num_rows, ROWS_PER_CALL)
    ]
    # (rows,) float64 holds each float32 exactly
    probability = np.concatenate(parts).astype(np.float64) if parts else np.empty(0, np.float64)
    identity, count = model.identity, rows.num_rows
    made = {
        "probability": pa.array(probability),
        "prediction": pa.array((probability >= identity.threshold).astype(np.int64)),
        "registered_model_name": pa.array([identity.registered_model_name] * count, pa.string()),
        "model_version": pa.array([identity.version] * count, pa.string()),
        "data_versions": pa.array([json.dumps(dict(data_versions), sort_keys=True)] * count, pa.string()),
        "scored_at": pa.array([scored_at] * count, pa.timestamp("us", tz="UTC")),
    }
    return pa.table({**{name: rows[name] for name in keep}, **made})
