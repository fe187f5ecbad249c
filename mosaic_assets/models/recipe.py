"""How a network is trained, as the YAML says it: names and choices, no logic."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from mosaic_resources.errors import UnknownNameError, UserError

__all__ = ["Declared", "Recipe"]

# {name: arguments}, in the order in which they are declared.
Declared = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Recipe:
    """Settings of one training run, named as Composer names them.

    Args:
        network: Arguments of the network.
        max_duration: ``4ep``, ``1000ba``.
        batch_size: Rows of a batch.
        optimizers: One optimizer → its arguments.
        schedulers: Scheduler → its arguments.
        algorithms: Algorithm → its arguments.
        callbacks: Callback → its arguments.
        seed: Decides initial weights, order of rows, dropout.
        num_threads: Threads of one operation; on a busy machine a second one waits more than it works.
        save_interval: Time between checkpoints, where they are kept.
        autoresume: Whether a run that was killed goes on from its newest checkpoint.
        log_every_batches: Batches between two points of a training curve.
    """

    network: Mapping[str, Any] = field(default_factory=dict)
    max_duration: str = "4ep"
    batch_size: int = 1024
    optimizers: Declared = field(default_factory=lambda: {"adamw": {"lr": 3e-3, "weight_decay": 1e-2}})
    schedulers: Declared = field(default_factory=lambda: {"cosine_annealing_with_warmup": {"t_warmup": "0.2dur"}})
    algorithms: Declared = field(default_factory=dict)
    callbacks: Declared = field(default_factory=dict)
    seed: int = 17
    num_threads: int = 1
    save_interval: str = "1ep"
    autoresume: bool = False
    log_every_batches: int = 20

    def __post_init__(self) -> None:
        if len(self.optimizers) != 1:
            raise UserError(f"A training run has one optimizer, not {len(self.optimizers)}.", "optimizers")
        if not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise UserError(f"A batch of {self.batch_size} rows is none.", "batch_size", "Give 1 or more.")

    def for_rows(self, num_rows: int) -> "tuple[Recipe, str]":
        """Returns the recipe for so many training rows, and what is then not as declared; nothing where all is.

        Args:
            num_rows: Rows to fit; fewer than a batch make one batch of all of them.

        Example:
            >>> recipe, said = Recipe(batch_size=1024).for_rows(300)
            >>> recipe.batch_size, said
            (300, 'batch_size is 300 instead of 1,024: there are no more rows to train on')
        """
        if num_rows >= self.batch_size or not num_rows:
            return self, ""
        said = f"batch_size is {num_rows:,} instead of {self.batch_size:,}: there are no more rows to train on"
        return replace(self, batch_size=num_rows), said

    def with_settings(self, settings: Mapping[str, Any]) -> "Recipe":
        """Returns the recipe with some settings replaced.

        Args:
            settings: Dotted path → value, for instance ``optimizers.adamw.lr``.

        Raises:
            UnknownNameError: The first part of a path is no setting.

        Example:
            >>> Recipe().with_settings({"optimizers.adamw.lr": 0.001}).optimizers["adamw"]["lr"]
            0.001
        """
        changed = self
        for path, value in settings.items():
            name, *rest = path.split(".")
            if name not in (known := [item.name for item in fields(self)]):
                raise UnknownNameError("setting", name, known, path)
            changed = replace(changed, **{name: _put(getattr(changed, name), rest, value)})
        return changed


def _put(old: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    if not isinstance(old, Mapping):
        raise UserError(f"'{path[0]}' lies below a setting that has no parts.", ".".join(path))
    return {**old, path[0]: _put(old.get(path[0], {}), path[1:], value)}
