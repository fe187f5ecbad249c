"""A small table with missing values, categories and a signal that a network finds in seconds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mosaic_assets.models.batches import Matrices, encode_rows, fit_encoding
from mosaic_assets.models.fit import ModelData, fit_model
from mosaic_assets.models.fitted import FittedModel
from mosaic_assets.models.network_model import NetworkModel, network_of
from mosaic_assets.models.networks import TabularNetwork, network_spec
from mosaic_assets.models.recipe import Recipe

COLUMNS = ("delay", "wind", "carrier")
RECIPE = Recipe(
    network={"hidden": [16, 8], "num_bins": 4, "num_members": 2},
    max_duration="2ep",
    batch_size=64,
    optimizers={"adamw": {"lr": 0.01, "weight_decay": 0.01}},
    algorithms={
        "gradient_clipping": {"clipping_type": "norm", "clipping_threshold": 1.0},
        "ema": {"half_life": "10ba", "update_interval": "2ba"},
    },
    callbacks={"lr_monitor": {}},
    log_every_batches=5,
)


def make_rows(num_rows: int = 1500, seed: int = 3) -> pa.Table:
    rng = np.random.default_rng(seed)
    delay, wind = rng.normal(0, 20, num_rows), rng.exponential(8, num_rows)
    carrier = rng.choice(["AA", "B6", "UA"], num_rows)
    late = rng.random(num_rows) < 1 / (1 + np.exp(-(delay / 10 + (carrier == "B6") - 1)))
    return pa.table(
        {
            "delay": pa.array(delay, mask=rng.random(num_rows) < 0.1),
            "wind": pa.array(wind),
            "carrier": pa.array([None if i % 40 == 0 else str(name) for i, name in enumerate(carrier)], pa.string()),
            "late": pa.array(late.astype(np.int32)),
            "split": pa.array(np.repeat(["train", "validation", "test"], num_rows // 3)),
        }
    )


@pytest.fixture(scope="session")
def data() -> ModelData:
    return ModelData(make_rows(), COLUMNS, "late")


@pytest.fixture(scope="session")
def matrices(data: ModelData) -> Matrices:
    rows = data.split("train")
    return encode_rows(rows, fit_encoding(rows, COLUMNS), "late")


@pytest.fixture(scope="session")
def make_network(matrices: Matrices) -> Callable[[], TabularNetwork]:
    spec = network_spec(matrices.numeric, (4,), matrices.label)
    return lambda: TabularNetwork(spec, **RECIPE.network)


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return RECIPE


@pytest.fixture(scope="session")
def fitted(data: ModelData, tmp_path_factory: pytest.TempPathFactory) -> FittedModel:
    """One fitted model for all tests that only look at one."""
    folder: Path = tmp_path_factory.mktemp("model")
    trials = [{}, {"optimizers.adamw.lr": 0.0001}]
    return fit_model(
        data,
        lambda encoding, settings, part: NetworkModel(encoding, RECIPE.with_settings(settings), network_of(None)),
        folder,
        trials=trials,
    )
