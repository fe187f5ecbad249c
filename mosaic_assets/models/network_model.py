"""A network, trained by Composer, as an estimator."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mosaic_assets.models.batches import Matrices
from mosaic_assets.models.checkpoints import CheckpointLedger
from mosaic_assets.models.curves import Curves, Point
from mosaic_assets.models.export import export_network, score_network
from mosaic_assets.models.fitted import Estimator
from mosaic_assets.models.networks import NetworkSpec, TabularNetwork, network_spec
from mosaic_assets.models.recipe import Recipe
from mosaic_assets.tables.transforms import load_function
from mosaic_resources.bentos.encoding import Encoding
from mosaic_resources.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from mosaic_assets.models.trainer import Fitted

__all__ = ["MakeNetwork", "NetworkModel", "network_of"]

MakeNetwork = Callable[..., "nn.Module"]


def network_of(file: Path | None) -> MakeNetwork:
    """Returns what makes a network from its specification and arguments.

    Args:
        file: Python file with ``def network(spec, **arguments)``; None: the ready network for tables.

    Example:
        >>> # def network(spec):                                  # in the user's file
        >>> #     return MyNetwork(spec.num_numeric, spec.cardinalities)
        >>> network_of(None).__name__
        'TabularNetwork'
    """
    return TabularNetwork if file is None else load_function(file, "network")


class NetworkModel(Estimator):
    """A network under a recipe.

    Args:
        encoding: Columns and vocabularies.
        recipe: How it is trained.
        make_network: Makes it from its specification.
        send: Takes the points of its curves while it trains.
        tell: Takes a sentence where something is done otherwise than declared.
        ledger: Its checkpoints, where they are kept.
    """

    def __init__(
        self,
        encoding: Encoding,
        recipe: Recipe,
        make_network: MakeNetwork,
        send: Callable[[Sequence[Point]], None] | None = None,
        ledger: CheckpointLedger | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.encoding, self.recipe, self._make_network, self._send, self._ledger = (
            encoding,
            recipe,
            make_network,
            send,
            ledger,
        )
        self._tell = tell
        self.fitted: Fitted | None = None

    def fit(self, training: Matrices, validation: Matrices | None = None) -> float:
        """Trains, and returns the seconds it took."""
        from mosaic_assets.models.trainer import train

        spec = network_spec(training.numeric, self.encoding.cardinalities, training.label)
        sample = Matrices(training.numeric[:2], training.categorical[:2], training.label[:2])
        make = lambda: self._network(spec, sample)  # noqa: E731
        recipe, said = self.recipe.for_rows(training.num_rows)
        if said and self._tell:
            self._tell(said)
        curves = Curves(self._send)
        self.fitted = train(make, training, recipe, validation=validation, curves=curves, ledger=self._ledger)
        return self.fitted.seconds

    def probability(self, data: Matrices) -> npt.NDArray[np.float32]:
        """Returns the (rows,) probabilities of label 1."""
        assert self.fitted is not None
        return score_network(self.fitted.module, data.numeric, data.categorical)

    def export(self, folder: Path, sample: Matrices) -> float:
        """Writes graph, weights and encoding."""
        assert self.fitted is not None
        return export_network(self.fitted.module, self.encoding, folder, sample.numeric, sample.categorical)

    def _network(self, spec: NetworkSpec, sample: Matrices) -> "nn.Module":
        network: Any
        try:
            network = self._make_network(spec, **self.recipe.network)
            shape = score_network(network, sample.numeric, sample.categorical).shape
        except Exception as exc:
            raise UserError(f"The network cannot be made: {type(exc).__name__}: {exc}", "network") from exc
        if shape != (sample.num_rows,):
            raise UserError(
                f"The network gives {shape} logits for {sample.num_rows} rows.", "network", "One logit a row is needed."
            )
        return network.train()  # type: ignore[no-any-return]
