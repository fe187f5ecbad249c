"""The ready network for tables, and what any network is built for."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

__all__ = ["NetworkSpec", "TabularNetwork", "network_spec"]

NUM_QUANTILES = 65
# A gap of quantiles below this, in units of the column's spread, is a step.
SMALLEST_GAP = 1e-6
LARGEST_SCORE = 5.0


@dataclass(frozen=True)
class NetworkSpec:
    """What a network is built for: the shape of its inputs, and how the training rows are spread.

    Args:
        cardinalities: Number of codes of each categorical column; code 0 is unknown or missing.
        mean: (num_numeric,) float32 means without missing values.
        scale: (num_numeric,) float32 standard deviations, never 0.
        quantiles: (num_numeric, num_quantiles) float32, ascending, from minimum to maximum.
        positive_share: Share of rows with label 1.
    """

    cardinalities: tuple[int, ...]
    mean: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]
    quantiles: npt.NDArray[np.float32]
    positive_share: float

    @property
    def num_numeric(self) -> int:
        """Number of numeric columns."""
        return len(self.mean)


def network_spec(
    numeric: npt.NDArray[np.float32],
    cardinalities: Sequence[int],
    label: npt.NDArray[np.float32],
    num_quantiles: int = NUM_QUANTILES,
) -> NetworkSpec:
    """Returns the specification that training rows give.

    Args:
        numeric: (rows, num_numeric) float32, NaN for missing.
        cardinalities: Number of codes of each categorical column.
        label: (rows,) 0 or 1.
        num_quantiles: Quantiles kept of each column.
    """
    steps = np.linspace(0.0, 1.0, num_quantiles)
    mean, scale, quantiles = [], [], []
    for column in numeric.T:
        known = column[~np.isnan(column)].astype(np.float64)
        known = known if len(known) else np.zeros(1)
        mean.append(known.mean())
        scale.append(known.std() or 1.0)
        quantiles.append(np.quantile(known, steps))
    return NetworkSpec(
        tuple(cardinalities),
        np.array(mean, np.float32),
        np.array(scale, np.float32),
        np.array(quantiles, np.float32).reshape(-1, num_quantiles),
        float(np.clip(label.mean(), 1e-4, 1 - 1e-4)),
    )


class TabularNetwork(nn.Module):
    """Embeddings, piecewise-linear numerics and an MLP whose members share their first layer.

    A numeric value becomes one number per bin: 0 below the bin, 1 above, linear within; so the first layer draws a
    piecewise-linear curve for each column, whatever its distribution. A missing value is 0 in every bin and 1 in the
    column's indicator. Members are scaled copies of one network (BatchEnsemble), trained together, averaged in here.

    Source: Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep Learning" (2022) and
    "TabM" (2024).

    Args:
        spec: What the network is built for.
        hidden: Width of each hidden layer.
        num_bins: Bins of each numeric column.
        embedding_width: Widest embedding of a category.
        num_members: Networks that are averaged.
        dropout: Share of hidden values that are dropped in training.
    """

    mean: Tensor
    scale: Tensor
    low: Tensor
    width: Tensor

    def __init__(
        self,
        spec: NetworkSpec,
        hidden: Sequence[int] = (128, 64),
        num_bins: int = 16,
        embedding_width: int = 16,
        num_members: int = 2,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        for name, values in _buffers(spec, num_bins).items():
            self.register_buffer(name, torch.from_numpy(values))
        widths = [min(embedding_width, 2 + cardinality // 4) for cardinality in spec.cardinalities]
        self.embeddings = nn.ModuleList(nn.Embedding(*pair) for pair in zip(spec.cardinalities, widths, strict=True))
        num_inputs = spec.num_numeric * (num_bins + 2) + sum(widths)
        self.first = nn.Linear(num_inputs, hidden[0])
        self.members = nn.Parameter(torch.empty(num_members, hidden[0]).uniform_(0.5, 1.5))
        self.member_bias = nn.Parameter(torch.empty(num_members, hidden[0]).uniform_(-0.1, 0.1))
        self.deeper = nn.Sequential(*_layers(hidden, dropout))
        self.last = nn.Parameter(torch.randn(num_members, hidden[-1]) / hidden[-1] ** 0.5)
        odds = spec.positive_share / (1 - spec.positive_share)
        self.bias = nn.Parameter(torch.full((num_members,), float(np.log(odds))))

    def inputs(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """Returns the (rows, num_inputs) values that the first layer sees."""
        missing = torch.isnan(numeric)
        known = torch.where(missing, self.mean, numeric)
        # (rows, num_numeric, num_bins)
        bins = ((known.unsqueeze(2) - self.low) / self.width).clamp(0.0, 1.0) * (~missing).unsqueeze(2)
        score = ((known - self.mean) / self.scale).clamp(-LARGEST_SCORE, LARGEST_SCORE)
        embedded = [embedding(categorical[:, i]) for i, embedding in enumerate(self.embeddings)]
        return torch.cat([bins.flatten(1), score, missing.to(score.dtype), *embedded], dim=1)

    def member_logits(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """Returns the (rows, num_members) logits; the loss is the mean over members."""
        # (rows, num_members, width)
        shared = self.first(self.inputs(numeric, categorical)).unsqueeze(1)
        values = self.deeper(torch.relu(shared * self.members + self.member_bias))
        logits: Tensor = (values * self.last).sum(dim=2) + self.bias
        return logits

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """Returns the (rows,) logits of the members' mean probability."""
        return torch.logit(torch.sigmoid(self.member_logits(numeric, categorical)).mean(dim=1), eps=1e-7)


def _layers(hidden: Sequence[int], dropout: float) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Dropout(dropout)] if dropout else []
    for width_in, width_out in pairwise(hidden):
        layers += [nn.Linear(width_in, width_out), nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
    return layers


def _buffers(spec: NetworkSpec, num_bins: int) -> dict[str, npt.NDArray[Any]]:
    # (num_numeric, num_bins + 1)
    positions = np.linspace(0, spec.quantiles.shape[1] - 1, num_bins + 1)
    known = np.arange(spec.quantiles.shape[1])
    edges = (
        np.stack([np.interp(positions, known, row) for row in spec.quantiles])
        if spec.num_numeric
        else np.zeros((0, num_bins + 1))
    )
    smallest = np.maximum(spec.scale[:, None] * SMALLEST_GAP, np.finfo(np.float32).tiny)
    return {
        "mean": spec.mean,
        "scale": spec.scale,
        "low": edges[:, :-1].astype(np.float32),
        "width": np.maximum(np.diff(edges, axis=1), smallest).astype(np.float32),
    }
