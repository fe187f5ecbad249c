"""From names in the YAML to Composer's own classes."""

import re
from collections.abc import Mapping
from inspect import isabstract, isclass
from types import ModuleType
from typing import Any

import composer.algorithms
import composer.callbacks
import composer.optim
import torch
from composer.core import Algorithm, Callback
from composer.optim import ComposerScheduler
from torch import nn

from mosaic_assets.models.recipe import Declared, Recipe
from mosaic_resources.errors import UnknownNameError, UserError

__all__ = ["known_names", "make", "make_all", "make_optimizer"]


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


def make_all(declared: Declared, field: str) -> list[Any]:
    """Returns what a field declares, in order; see ``make``."""
    return [make(field, name, {}, arguments) for name, arguments in declared.items()]


def make(field: str, name: str, given: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
    """Returns one named part.

    Args:
        field: ``algorithms``, ``callbacks``, ``schedulers`` or ``optimizers``.
        name: As Composer names it.
        given: Arguments of ours.
        arguments: Declared arguments.

    Raises:
        UnknownNameError: Composer has nothing of the name.
        UserError: It does not take the arguments.
    """
    known = known_names(field)
    if name not in known:
        raise UnknownNameError(field.removesuffix("s"), name, known, field)
    try:
        return known[name](**given, **arguments)
    except (TypeError, ValueError) as exc:
        raise UserError(f"'{name}' does not take these arguments: {exc}.", field) from exc


def make_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """Returns the recipe's optimizer, fused where torch has a fused one."""
    ((name, arguments),) = recipe.optimizers.items()
    fused = {"fused": True} if name in ("adamw", "adam", "sgd") and "fused" not in arguments else {}
    optimizer: torch.optim.Optimizer = make("optimizers", name, {"params": model.parameters(), **fused}, arguments)
    return optimizer


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().replace("adam_w", "adamw").replace("sgd_w", "sgdw")
