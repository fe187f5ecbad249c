import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mosaic_assets.predictions.batch import score_batch
from mosaic_resources.bentos.encoding import Encoding
from mosaic_resources.bentos.fake import write_fake_model
from mosaic_resources.errors import UnknownNameError

NOW = datetime(2013, 8, 1, tzinfo=UTC)
ROWS = pa.table(
    {
        "id": [1, 2, 3],
        "x": pa.array([1.0, None, float("nan")]),
        "n": pa.array([None, 2, 3], pa.int64()),
        "c": pa.array(["b", None, "?"]),
        "late": pa.array([1, 0, None], pa.int32()),
    }
)


@pytest.fixture
def model(tmp_path: Path) -> object:
    return write_fake_model(
        tmp_path, Encoding(("x", "n"), {"c": ("a", "b")}), (1.0, -1.0, 0.5), version="4", name="late"
    )


def test_each_row_gets_a_prediction_with_its_origin(model: object) -> None:
    scored = score_batch(ROWS, model, keep=["id", "late"], data_versions={"b": 2, "a": 1}, scored_at=NOW)  # type: ignore[arg-type]
    np.testing.assert_allclose(scored["probability"], 1 / (1 + np.exp([-2.0, 2.0, 3.0])), rtol=1e-6)
    assert scored["prediction"].to_pylist() == [1, 0, 0]
    assert scored["late"].to_pylist() == [1, 0, None]
    assert set(scored["model_version"].to_pylist()) == {"4"}
    assert json.loads(scored["data_versions"][0].as_py()) == {"a": 1, "b": 2}
    assert scored["scored_at"][0].as_py() == NOW


def test_no_rows_give_an_empty_table(model: object) -> None:
    empty = score_batch(ROWS.slice(0, 0), model, keep=["id"], data_versions={}, scored_at=NOW)  # type: ignore[arg-type]
    assert empty.num_rows == 0
    assert empty["probability"].type == pa.float64()


def test_missing_column_is_named(model: object) -> None:
    with pytest.raises(UnknownNameError, match="column 'n' is not declared"):
        score_batch(ROWS.drop_columns(["n"]), model, keep=["id"], data_versions={}, scored_at=NOW)  # type: ignore[arg-type]
