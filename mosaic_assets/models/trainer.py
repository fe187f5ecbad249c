"""Composer: the only file that knows it. Matrices and a network in, a fitted network and its curves out."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import isabstract, isclass
from pathlib import Path
from types import ModuleType
from typing import Any

import composer.algorithms
import composer.callbacks
import composer.optim
import composer.utils.checkpoint as composer_checkpoint
import torch
from composer import Trainer
from composer.core import Algorithm, Callback, DataSpec, Engine, Evaluator, Event, State
from composer.loggers import Logger, LoggerDestination
from composer.models import ComposerModel
from composer.optim import ComposerScheduler
from composer.utils import reproducibility
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import BinaryAUROC

from mosaic_assets.models.batches import Batch, Matrices, batch_loader
from mosaic_assets.models.checkpoints import CheckpointLedger, load_checkpoint_file
from mosaic_assets.models.curves import Curves, Point
from mosaic_assets.models.recipe import Declared, Recipe
from mosaic_resources.errors import UnknownNameError, UserError

__all__ = ["Fitted", "known_names", "train"]

EVAL_ROWS = 16_384
# Events outside the batch loop take Composer's own way, with all of its checks.
HOT = frozenset(
    Event(f"{when}_{what}")
    for what in ("dataloader", "train_batch", "forward", "loss", "backward")
    for when in ("before", "after")
)
HOT |= {Event.BATCH_START, Event.BATCH_END, Event.BATCH_CHECKPOINT}


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


class LogitModel(ComposerModel):
    """A network of one logit a row (or one for each member) under binary cross-entropy."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.metrics: dict[str, Metric] = {"roc_auc": BinaryAUROC(), "log_loss": MeanMetric()}

    def forward(self, batch: Batch) -> Tensor:
        """Returns (rows, num_members) logits."""
        logits: Tensor = getattr(self.network, "member_logits", self.network)(batch[0], batch[1])
        return logits if logits.ndim == 2 else logits.unsqueeze(1)

    def loss(self, outputs: Tensor, batch: Batch, *args: Any, **kwargs: Any) -> Tensor:
        """Returns the mean over rows and members."""
        return binary_cross_entropy_with_logits(outputs, batch[2].unsqueeze(1).expand_as(outputs))

    def eval_forward(self, batch: Batch, outputs: Any = None) -> Tensor:
        """Returns the (rows,) logits that a caller of the network sees."""
        logits: Tensor = self.network(batch[0], batch[1])
        return logits

    def get_metrics(self, is_train: bool) -> dict[str, Metric]:
        """Returns the metrics of evaluation; training has none, they would cost at every step."""
        return {} if is_train else self.metrics

    def update_metric(self, batch: Batch, outputs: Tensor, metric: Metric) -> None:
        """Takes one batch into a metric."""
        if isinstance(metric, BinaryAUROC):
            metric.update(torch.sigmoid(outputs), batch[2].int())
        else:
            metric.update(binary_cross_entropy_with_logits(outputs, batch[2]), weight=len(batch[2]))


class FastEngine(Engine):
    """Composer's engine, calling at hot events only the callbacks that listen; it also counts who ran.

    The order is Composer's: algorithms, callbacks, loggers. Left out: debug logs, profiler marks, repeated checks.
    """

    fired: Counter[str]
    listeners: dict[Event, tuple[int, list[Callback]]]

    @classmethod
    def take_over(cls, engine: Engine) -> "FastEngine":
        """Turns a trainer's engine into this one."""
        engine.__class__ = cls
        assert isinstance(engine, FastEngine)
        engine.fired, engine.listeners = Counter(), {}
        return engine

    def run_event(self, event: Event | str) -> Any:
        """Runs an event; see Composer's engine."""
        if event not in HOT or self.state.profiler is not None:
            return super().run_event(event)
        event = Event(event)
        traces = self._run_algorithms(event) if self.state.algorithms else {}
        for callback in self._listening(event):
            self.fired[type(callback).__name__] += 1
            callback.run_event(event, self.state, self.logger)
        return traces

    def _run_algorithms(self, event: Event) -> Any:
        traces = super()._run_algorithms(event)
        self.fired.update(trace.name for trace in traces.values() if trace.run)
        return traces

    def _run_callbacks(self, event: Event | str, callbacks: Sequence[Callback] | None = None) -> None:
        super()._run_callbacks(event, callbacks)
        self.fired.update(type(callback).__name__ for callback in callbacks or () if _listens(callback, Event(event)))

    def _listening(self, event: Event) -> list[Callback]:
        num_callbacks, found = self.listeners.get(event, (-1, []))
        if num_callbacks != len(self.state.callbacks):
            found = [callback for callback in self.state.callbacks if _listens(callback, event)]
            found.sort(key=lambda callback: isinstance(callback, LoggerDestination))
            self.listeners[event] = len(self.state.callbacks), found
        return found


def _listens(callback: Callback, event: Event) -> bool:
    own = type(callback)
    return own.run_event is not Callback.run_event or getattr(own, event.value) is not getattr(Callback, event.value)


class CurveLogger(LoggerDestination):
    """Hands every n-th training value, and every other value, to the curves."""

    def __init__(self, curves: Curves, every_batches: int) -> None:
        self._curves, self._every = curves, every_batches

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Takes values of a step; times are left out."""
        for name, value in metrics.items():
            if not name.startswith(("time/", "trainer/")) and (
                name.startswith("metrics/") or (step or 0) % self._every == 0
            ):
                self._curves.add(name, step or 0, float(value))


class SignedSaver(composer.callbacks.CheckpointSaver):
    """Composer's saver, listing what it wrote."""

    def __init__(self, ledger: CheckpointLedger, interval: str) -> None:
        super().__init__(str(ledger.folder), "ba{batch}.pt", None, None, None, interval, overwrite=True)
        self._ledger = ledger

    def _save_checkpoint(self, state: State, logger: Logger) -> None:
        super()._save_checkpoint(state, logger)
        self._ledger.record(self._ledger.folder / f"ba{state.timestamp.batch.value}.pt")


class RestoreRandomState(Callback):
    """Puts the random state back just before the first batch after a resume inside an epoch.

    Composer forgets to, where the loader itself knows how to continue.
    """

    def __init__(self, random_state: Any) -> None:
        self._random_state = random_state

    def after_dataloader(self, state: State, logger: Logger) -> None:
        """Restores once."""
        if self._random_state is not None:
            reproducibility.load_rng_state(self._random_state)
            self._random_state = None


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
            optimizers=_optimizer(recipe, model),
            schedulers=_made(recipe.schedulers, "schedulers"),
            algorithms=_made(recipe.algorithms, "algorithms"),
            callbacks=[*_made(recipe.callbacks, "callbacks"), *saver],
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


def known_names(field: str) -> dict[str, type[Any]]:
    """Returns what ``algorithms``, ``callbacks``, ``schedulers`` or ``optimizers`` may name."""
    if field == "optimizers":
        return {
            _snake(kind.__name__): kind
            for kind in (
                torch.optim.AdamW,
                torch.optim.Adam,
                torch.optim.SGD,
                *_classes(composer.optim, torch.optim.Optimizer),
            )
        }
    if field == "schedulers":
        return {
            _snake(kind.__name__.removesuffix("Scheduler")): kind
            for kind in _classes(composer.optim, ComposerScheduler)
        }
    package, parent = (composer.algorithms, Algorithm) if field == "algorithms" else (composer.callbacks, Callback)
    # Composer names the module as its documentation names the method: nan_monitor, gradient_clipping.
    return {kind.__module__.rsplit(".", 1)[-1]: kind for kind in _classes(package, parent)}


def _classes(package: ModuleType, parent: type) -> list[type[Any]]:
    # A protocol (ComposerScheduler) cannot be asked with issubclass.
    return [
        kind for kind in vars(package).values() if isclass(kind) and parent in kind.__mro__[1:] and not isabstract(kind)
    ]


def _made(declared: Declared, field: str) -> list[Any]:
    return [_make(field, name, {}, arguments) for name, arguments in declared.items()]


def _make(field: str, name: str, given: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
    known = known_names(field)
    if name not in known:
        raise UnknownNameError(field.removesuffix("s"), name, known, field)
    try:
        return known[name](**given, **arguments)
    except (TypeError, ValueError) as exc:
        raise UserError(f"'{name}' does not take these arguments: {exc}.", field) from exc


def _optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    ((name, arguments),) = recipe.optimizers.items()
    fused = {"fused": True} if name in ("adamw", "adam", "sgd") and "fused" not in arguments else {}
    optimizer: torch.optim.Optimizer = _make("optimizers", name, {"params": model.parameters(), **fused}, arguments)
    return optimizer


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().replace("adam_w", "adamw").replace("sgd_w", "sgdw")


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
