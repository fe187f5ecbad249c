"""What a trainer is given beside the declared parts: the model, the curves, the checkpoints, the random state."""

from typing import Any

import composer.callbacks
import torch
from composer.core import Callback, State
from composer.loggers import Logger, LoggerDestination
from composer.models import ComposerModel
from composer.utils import reproducibility
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import BinaryAUROC

from mosaic_assets.models.batches import Batch
from mosaic_assets.models.checkpoints import CheckpointLedger
from mosaic_assets.models.curves import Curves

__all__ = ["CurveLogger", "LogitModel", "RestoreRandomState", "SignedSaver"]


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
