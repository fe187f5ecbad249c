"""Choosing settings: a small number of trials, seeded, judged on the validation split."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mosaic_resources.errors import UserError

__all__ = ["Trial", "best_trial", "proposals", "run_trials"]

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Trial:
    """One trial: the settings that differ from what is declared, and what they reached on the validation split."""

    settings: Settings
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0


def proposals(space: Mapping[str, Sequence[Any]], num_trials: int, seed: int) -> list[Settings]:
    """Returns the settings to try: what is declared first, then draws from the grid without repetition.

    Args:
        space: Dotted setting → the values it may take.
        num_trials: How many; fewer where the grid is smaller.
        seed: Decides the draws.

    Raises:
        UserError: A setting has no values, or fewer than one trial is asked for.
    """
    if num_trials < 1:
        raise UserError("At least one trial is needed.", "num_trials")
    for name, values in space.items():
        if not values:
            raise UserError("A setting to search has no values.", name)
    size = math.prod(len(values) for values in space.values())
    drawn: Sequence[int] = np.random.default_rng(seed).permutation(size)[: num_trials - 1].tolist() if space else []
    grid = list(itertools.product(*space.values())) if space else []
    return [{}, *(dict(zip(space, grid[index], strict=True)) for index in drawn)]


def run_trials(settings: Sequence[Settings], attempt: Callable[[Settings], Trial]) -> list[Trial]:
    """Returns the trials, in order."""
    return [attempt(chosen) for chosen in settings]


def best_trial(trials: Sequence[Trial], metric: str, greater_is_better: bool = True) -> Trial:
    """Returns the trial with the best metric; the earlier one of equals.

    Raises:
        UserError: No trial has the metric.
    """
    judged = [trial for trial in trials if metric in trial.metrics]
    if not judged:
        known = ", ".join(sorted({name for trial in trials for name in trial.metrics}))
        raise UserError(f"No trial has the metric '{metric}'.", "tuning", f"They have: {known or 'none'}.")
    sign = 1.0 if greater_is_better else -1.0
    return max(judged, key=lambda trial: sign * trial.metrics[metric])
