"""Composer's trainer: matrices and a network in, a fitted network and its curves out.

Only this file and those named ``composer_*`` know Composer.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import composer.algorithms
import composer.utils.checkpoint as composer_checkpoint
import torch
from composer import Trainer
from composer.core import DataSpec, Evaluator
from composer.utils import reproducibility
from torch import nn

from mosaic_assets.models.batches import Matrices, batch_loader
from mosaic_assets.models.checkpoints import CheckpointLedger, load_checkpoint_file
from mosaic_assets.models.composer_engine import FastEngine
from mosaic_assets.models.composer_names import make_all, make_optimizer
from mosaic_assets.models.composer_parts import CurveLogger, LogitModel, RestoreRandomState, SignedSaver
from mosaic_assets.models.curves import Curves, Point
from mosaic_assets.models.recipe import Recipe

__all__ = ["Fitted", "train"]

EVAL_ROWS = 16_384


@dataclass(frozen=True)
class Fitted:
    """What a training run made.

    Args:
        module: The network, in evaluation mode, with averaged weights where an algorithm averages.
        points: Its curves.
        fired: Algorithm or callback → how often it ran.
        num_batches: Batches trained.
        seconds: Wall time of the loop.
    """

    module: nn.Module
    points: tuple[Point, ...]
    fired: Mapping[str, int]
    num_batches: int
    seconds: float


def train(
    make_network: Callable[[], nn.Module],
    training: Matrices,
    recipe: Recipe,
    *,
    validation: Matrices | None = None,
    curves: Curves | None = None,
    ledger: CheckpointLedger | None = None,
    fast: bool = True,
) -> Fitted:
    """Returns the network fitted to the training rows.

    Args:
        make_network: Makes the network; called once, after the seed is set.
        training: Rows to fit.
        recipe: Duration, optimizer, schedule, algorithms, callbacks, seed.
        validation: Rows to measure on after each epoch, or None.
        curves: Where values go; closed at the end.
        ledger: Checkpoints; with ``recipe.autoresume`` the run continues from the newest intact one.
        fast: Whether the lean engine runs the hot events; the result is the same bit for bit.

    Raises:
        UnknownNameError: The recipe names something that Composer does not have.
        UserError: Arguments do not fit what they are declared for.
    """
    kept = curves or Curves()
    with _settled(recipe.num_threads):
        reproducibility.seed_all(recipe.seed)
        model = LogitModel(make_network())
        saver = [SignedSaver(ledger, recipe.save_interval)] if ledger else []
        trainer = Trainer(
            model=model,
            train_dataloader=_data_spec(training, recipe.batch_size, recipe.seed),
            eval_dataloader=_evaluator(validation),
            max_duration=recipe.max_duration,
            optimizers=make_optimizer(recipe, model),
            schedulers=make_all(recipe.schedulers, "schedulers"),
            algorithms=make_all(recipe.algorithms, "algorithms"),
            callbacks=[*make_all(recipe.callbacks, "callbacks"), *saver],
            loggers=[CurveLogger(kept, recipe.log_every_batches)],
            seed=recipe.seed,
            device="cpu",
            device_train_microbatch_size=recipe.batch_size,
            progress_bar=False,
            load_path=_newest(ledger, recipe.autoresume),
        )
        try:
            return _run(trainer, model, kept, fast)
        finally:
            kept.close()
            trainer.close()  # type: ignore[no-untyped-call]


def _run(trainer: Trainer, model: LogitModel, curves: Curves, fast: bool) -> Fitted:
    engine = FastEngine.take_over(trainer.engine) if fast else trainer.engine
    if trainer._rng_state is not None and trainer.state.timestamp.batch_in_epoch > 0:
        trainer.state.callbacks.insert(0, RestoreRandomState(trainer._rng_state))
        trainer._rng_state = None
    began = time.perf_counter()
    # A run that was resumed after its last checkpoint has nothing left to do; Composer refuses to fit it.
    if trainer.state.timestamp < trainer.state.max_duration:
        trainer.fit()
    seconds = time.perf_counter() - began
    for algorithm in trainer.state.algorithms:
        # EMA keeps its averages to itself; the other averaging algorithms leave theirs in the model.
        if (
            isinstance(algorithm, composer.algorithms.EMA)
            and algorithm.ema_started
            and not algorithm.ema_weights_active
        ):
            algorithm.get_ema_model(model)
    fired = dict(getattr(engine, "fired", {}))
    return Fitted(model.network.eval(), tuple(curves.points), fired, trainer.state.timestamp.batch.value, seconds)


def _data_spec(data: Matrices, batch_size: int, seed: int | None) -> DataSpec:
    return DataSpec(
        batch_loader(data, batch_size, seed),
        get_num_samples_in_batch=lambda batch: len(batch[2]),
        split_batch=lambda batch, _: [batch],
    )


def _evaluator(validation: Matrices | None) -> Evaluator | None:
    return (
        Evaluator(label="validation", dataloader=_data_spec(validation, EVAL_ROWS, None))
        if validation is not None
        else None
    )


def _newest(ledger: CheckpointLedger | None, autoresume: bool) -> str | None:
    if ledger is None:
        return None
    if not autoresume:
        ledger.clear()
    newest = ledger.newest()

    def load(checkpoint_filepath: Path | str, map_location: str) -> Any:
        return load_checkpoint_file(Path(checkpoint_filepath), ledger, map_location)

    # 0.32.1 unpickles whatever it is given here.
    composer_checkpoint._torch_load_with_validation = load
    return str(newest) if newest else None


@contextmanager
def _settled(num_threads: int) -> Iterator[None]:
    """Fixes what the same seed needs for the same bytes: the threads, and operations that add in a fixed order."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(num_threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic)
        torch.set_num_threads(threads)
