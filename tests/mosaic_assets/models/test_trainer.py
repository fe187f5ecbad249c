"""Real Composer throughout."""

import hashlib
import os
import pickle
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mosaic_assets.models.batches import Matrices
from mosaic_assets.models.checkpoints import CheckpointLedger, load_checkpoint_file, signing_key
from mosaic_assets.models.composer_names import known_names
from mosaic_assets.models.curves import Curves
from mosaic_assets.models.networks import TabularNetwork
from mosaic_assets.models.recipe import Recipe
from mosaic_assets.models.trainer import train
from mosaic_resources.errors import UnknownNameError, UserError

Make = Callable[[], TabularNetwork]
BATCHES_PER_EPOCH = 500 // 64


def weights(module: nn.Module) -> str:
    state = module.state_dict()
    return hashlib.sha256(b"".join(state[name].numpy().tobytes() for name in sorted(state))).hexdigest()


def test_declared_algorithms_and_callbacks_fire(make_network: Make, matrices: Matrices, recipe: Recipe) -> None:
    fitted = train(make_network, matrices, recipe, validation=matrices)
    num_batches = 2 * BATCHES_PER_EPOCH
    assert fitted.num_batches == num_batches
    assert fitted.fired["GradientClipping"] == num_batches
    assert fitted.fired["LRMonitor"] == num_batches
    # From the first epoch's end on, EMA runs at batch starts, every second batch end and around evaluation.
    assert fitted.fired["EMA"] >= num_batches // 2
    names = {point.name for point in fitted.points}
    assert {"loss/train/total", "metrics/validation/roc_auc", "metrics/validation/log_loss"} <= names
    assert any(name.startswith("lr-") for name in names)


def test_without_a_declaration_nothing_fires(make_network: Make, matrices: Matrices, recipe: Recipe) -> None:
    assert train(make_network, matrices, replace(recipe, algorithms={}, callbacks={})).fired == {}


def test_lean_engine_equals_composers_bit_for_bit(make_network: Make, matrices: Matrices, recipe: Recipe) -> None:
    fast, plain = (train(make_network, matrices, recipe, validation=matrices, fast=fast) for fast in (True, False))
    assert weights(fast.module) == weights(plain.module)
    assert fast.points == plain.points


@pytest.mark.parametrize("num_threads", [1, 2])
def test_same_seed_same_weights(make_network: Make, matrices: Matrices, recipe: Recipe, num_threads: int) -> None:
    found = [
        weights(train(make_network, matrices, replace(recipe, seed=seed, num_threads=num_threads)).module)
        for seed in (1, 1, 2)
    ]
    assert found[0] == found[1] != found[2]


def test_batches_are_not_copied_and_not_changed(make_network: Make, matrices: Matrices, recipe: Recipe) -> None:
    before = [values.copy() for values in (matrices.numeric, matrices.categorical, matrices.label)]
    train(make_network, matrices, recipe)
    for values, old in zip((matrices.numeric, matrices.categorical, matrices.label), before, strict=True):
        np.testing.assert_array_equal(values, old)


def test_averaged_weights_are_the_result(make_network: Make, matrices: Matrices, recipe: Recipe) -> None:
    averaged = train(make_network, matrices, recipe)
    plain = train(
        make_network,
        matrices,
        replace(recipe, algorithms={"gradient_clipping": recipe.algorithms["gradient_clipping"]}),
    )
    assert weights(averaged.module) != weights(plain.module)
    assert not averaged.module.training


def test_process_settings_are_put_back(make_network: Make, matrices: Matrices, recipe: Recipe) -> None:
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    train(make_network, matrices, replace(recipe, num_threads=1, max_duration="1ba"))
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before


def test_a_sink_that_fails_costs_points_not_the_run(make_network: Make, matrices: Matrices, recipe: Recipe) -> None:
    def send(points: object) -> None:
        raise OSError("down")

    curves = Curves(send, chunk=3)
    fitted = train(make_network, matrices, recipe, curves=curves)
    assert curves.num_lost == len(fitted.points) > 0


def test_curves_arrive_in_order(make_network: Make, matrices: Matrices, recipe: Recipe) -> None:
    arrived: list = []
    fitted = train(make_network, matrices, recipe, curves=Curves(arrived.extend, chunk=4))
    assert tuple(arrived) == fitted.points


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"algorithms": {"gradient_clip": {}}},
            UnknownNameError,
            "algorithm 'gradient_clip' .* Did you mean 'gradient_clipping'",
        ),
        ({"callbacks": {"lr_monitors": {}}}, UnknownNameError, "callback 'lr_monitors'"),
        ({"schedulers": {"cosine": {}}}, UnknownNameError, "scheduler 'cosine'"),
        ({"optimizers": {"adamax": {}}}, UnknownNameError, "optimizer 'adamax'"),
        ({"algorithms": {"ema": {"half_live": "1ba"}}}, UserError, "'ema' does not take these arguments"),
        ({"optimizers": {"adamw": {"lr": -1}}}, UserError, "'adamw' does not take these arguments"),
    ],
)
def test_wrong_declarations(
    make_network: Make, matrices: Matrices, recipe: Recipe, change: dict, error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        train(make_network, matrices, replace(recipe, **change))


@pytest.mark.parametrize("field", ["algorithms", "callbacks", "schedulers", "optimizers"])
def test_known_names_are_not_empty(field: str) -> None:
    assert len(known_names(field)) > 3
    assert all(name == name.lower() for name in known_names(field))


def test_two_optimizers_are_refused() -> None:
    with pytest.raises(UserError, match="one optimizer, not 2"):
        Recipe(optimizers={"adamw": {}, "sgd": {}})


# Checkpoints


def ledger_in(folder: Path) -> CheckpointLedger:
    return CheckpointLedger(folder / "checkpoints", signing_key(folder / "key"))


def kept(recipe: Recipe) -> Recipe:
    return replace(recipe, save_interval="3ba", autoresume=True, num_threads=1, max_duration="3ep")


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from conftest import COLUMNS, RECIPE, make_rows
from dataclasses import replace
from mosaic_assets.models.batches import encode_rows, fit_encoding
from mosaic_assets.models.checkpoints import CheckpointLedger, signing_key
from mosaic_assets.models.curves import Curves
from mosaic_assets.models.networks import TabularNetwork, network_spec
from mosaic_assets.models.trainer import train

class Killing(Curves):
    def add(self, name, step, value):
        if step >= {step} and name.startswith("loss"):
            os.kill(os.getpid(), signal.SIGKILL)

rows = make_rows()
rows = rows.slice(0, 500)
data = encode_rows(rows, fit_encoding(rows, COLUMNS), "late")
spec = network_spec(data.numeric, (4,), data.label)
folder = Path({folder!r})
recipe = replace(RECIPE, save_interval="3ba", autoresume=True, num_threads=1, max_duration="3ep", log_every_batches=1)
train(lambda: TabularNetwork(spec, **recipe.network), data, recipe, curves=Killing(),
      ledger=CheckpointLedger(folder / "checkpoints", signing_key(folder / "key")))
"""


def killed_at(step: int, folder: Path) -> None:
    script = textwrap.dedent(KILLED).format(tests=str(Path(__file__).parent), step=step, folder=str(folder))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, timeout=120, check=False, env={**os.environ}
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def test_killed_twice_and_resumed_equals_uninterrupted(
    make_network: Make, matrices: Matrices, recipe: Recipe, tmp_path: Path
) -> None:
    expected = weights(train(make_network, matrices, kept(recipe)).module)
    killed_at(5, tmp_path)  # within the first epoch
    killed_at(16, tmp_path)  # within the third
    resumed = train(make_network, matrices, kept(recipe), ledger=ledger_in(tmp_path))
    assert weights(resumed.module) == expected
    assert len(list((tmp_path / "checkpoints").glob("*.pt"))) == 2


def test_corrupt_newest_checkpoint_falls_back_one(
    make_network: Make, matrices: Matrices, recipe: Recipe, tmp_path: Path
) -> None:
    expected = weights(train(make_network, matrices, kept(recipe)).module)
    killed_at(16, tmp_path)
    newest = ledger_in(tmp_path).newest()
    assert newest is not None
    newest.write_bytes(newest.read_bytes()[:-100])
    older = ledger_in(tmp_path).newest()
    assert older is not None
    assert older != newest
    assert not newest.exists()
    assert weights(train(make_network, matrices, kept(recipe), ledger=ledger_in(tmp_path)).module) == expected


def test_finished_run_is_not_trained_again(
    make_network: Make, matrices: Matrices, recipe: Recipe, tmp_path: Path
) -> None:
    settings = replace(kept(recipe), save_interval="1ep")
    first = train(make_network, matrices, settings, ledger=ledger_in(tmp_path))
    again = train(make_network, matrices, settings, ledger=ledger_in(tmp_path))
    assert weights(again.module) == weights(first.module)
    assert again.seconds < first.seconds


def test_without_autoresume_a_run_begins_anew(
    make_network: Make, matrices: Matrices, recipe: Recipe, tmp_path: Path
) -> None:
    anew = replace(kept(recipe), autoresume=False, max_duration="4ba")
    runs = [train(make_network, matrices, anew, ledger=ledger_in(tmp_path)).num_batches for _ in range(2)]
    assert runs == [4, 4]


class Planted:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return Path.touch, (self.marker,)


def test_planted_pickle_is_never_executed(
    make_network: Make, matrices: Matrices, recipe: Recipe, tmp_path: Path
) -> None:
    marker, ledger = tmp_path / "marker", ledger_in(tmp_path)
    settings = replace(kept(recipe), max_duration="4ba")
    train(make_network, matrices, settings, ledger=ledger)
    newest = ledger.newest()
    assert newest is not None
    # Once as a stranger's file, which the run removes; once signed, as if the key had leaked.
    stranger = newest.with_name("ba9.pt")
    for payload in (
        lambda file: torch.save({"state": Planted(marker)}, file),
        lambda file: file.write_bytes(pickle.dumps(Planted(marker))),
    ):
        payload(stranger)
        with pytest.raises(UserError, match="not written by this run"):
            load_checkpoint_file(stranger, ledger, "cpu")
        train(make_network, matrices, settings, ledger=ledger)
        assert not stranger.exists()
        payload(stranger)
        ledger.record(stranger)
        with pytest.raises(UserError, match="cannot be opened safely"):
            train(make_network, matrices, settings, ledger=ledger)
        ledger.clear()
    assert not marker.exists()


def test_forged_ledger_counts_as_none(tmp_path: Path) -> None:
    mine, theirs = ledger_in(tmp_path), CheckpointLedger(tmp_path / "checkpoints", b"another key")
    (tmp_path / "checkpoints").mkdir()
    file = tmp_path / "checkpoints" / "ba1.pt"
    file.write_bytes(b"content")
    theirs.record(file)
    assert theirs.holds(b"content")
    assert not mine.holds(b"content")
    assert mine.newest() is None
    assert not file.exists()


def test_signing_key_is_made_once_and_private(tmp_path: Path) -> None:
    assert signing_key(tmp_path / "keys" / "key") == signing_key(tmp_path / "keys" / "key")
    assert (tmp_path / "keys" / "key").stat().st_mode & 0o077 == 0
    assert len(list((tmp_path / "keys").iterdir())) == 1
