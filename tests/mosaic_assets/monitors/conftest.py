import importlib.util
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest


@pytest.fixture
def half_year():
    """Six months of rows whose temperature rises, with NULL, NaN, texts, booleans and whole numbers."""
    rng = np.random.default_rng(7)
    month = np.repeat(np.arange(1, 7), 3_000)
    num_rows = len(month)
    temp = rng.normal(month * 5.0, 8.0)
    temp[:90] = np.nan
    text = rng.choice(["UA", "B6", "EV"], num_rows, p=[0.5, 0.3, 0.2]).tolist()
    return pa.table(
        {
            "at": pa.array([datetime(2013, int(m), 5, tzinfo=UTC) for m in month], pa.timestamp("us", tz="UTC")),
            "temp": pa.array(temp, pa.float64(), mask=rng.random(num_rows) < 0.02),
            "speed": pa.array(np.where(rng.random(num_rows) < 0.5, 0.0, rng.exponential(9.0, num_rows))),
            "seats": pa.array(rng.integers(2, 300, num_rows), pa.int32()),
            "carrier": pa.array([None if i % 50 == 0 else t for i, t in enumerate(text)], pa.string()),
            "late": pa.array(rng.random(num_rows) < 0.2),
        }
    )


@pytest.fixture(scope="session")
def story():
    """The functions of ``story.py``, which lies beside this file."""
    return beside("story.py")


@pytest.fixture(scope="session")
def nyc():
    """The functions of ``weather.py``, which lies beside this file."""
    return beside("weather.py")


def beside(name):
    spec = importlib.util.spec_from_file_location(f"monitor_{name[:-3]}", Path(__file__).with_name(name))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
