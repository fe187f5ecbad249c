"""Features that a file of the user's computes from request and looked-up features, in training and in serving alike."""

import hashlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mosaic_resources.errors import UserError

__all__ = [
    "OnDemandError",
    "OnDemandFunction",
    "checked_features",
    "computed_features",
    "file_sha256",
    "load_on_demand",
]

Columns = Mapping[str, npt.NDArray[Any]]
OnDemandFunction = Callable[[Columns], Mapping[str, npt.NDArray[Any]]]


class OnDemandError(UserError):
    """The user's function failed on these rows, or did not return what was declared."""


def file_sha256(file: Path) -> str:
    """Returns the SHA-256 of a file, in hex."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def load_on_demand(file: Path, sha256: str | None = None) -> OnDemandFunction:
    """Returns the function ``features(inputs)`` of a file.

    Args:
        file: Python file; numpy and the standard library are all it may import.
        sha256: The hash that the file must have.

    Raises:
        UserError: The file is missing, is another one, cannot be loaded, or has no such function.
    """
    if not file.is_file():
        raise UserError("The on-demand file is missing.", str(file))
    if sha256 is not None and file_sha256(file) != sha256:
        raise UserError(
            "The on-demand file is not the one that the service was built with.", str(file), "Build it again."
        )
    name = f"mosaic_on_demand_{file_sha256(file)[:16]}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as exc:
        raise UserError(f"The on-demand file cannot be loaded: {exc!r}.", str(file)) from exc
    function = getattr(module, "features", None)
    if not callable(function):
        raise UserError("The on-demand file has no function 'features'.", str(file), "Write def features(inputs): ...")
    return function  # type: ignore[no-any-return]


def checked_features(
    function: OnDemandFunction, inputs: Columns, names: Sequence[str], num_rows: int
) -> dict[str, npt.NDArray[Any]]:
    """Returns the declared features, computed.

    Args:
        function: The user's function.
        inputs: Request columns, ``asked_at`` (datetime64[us], UTC) and looked-up features, each (rows,); missing
            values as NaN, NaT or None.
        names: The features that it must return.
        num_rows: Rows of the request.

    Raises:
        OnDemandError: The function failed, left a feature out, or returned another number of rows.
    """
    made = computed_features(function, inputs, num_rows)
    for name in names:
        if name not in made:
            raise OnDemandError(
                f"The on-demand function returned no '{name}'.", do=f"It returned: {', '.join(made) or 'nothing'}."
            )
    return {name: made[name] for name in names}


def computed_features(function: OnDemandFunction, inputs: Columns, num_rows: int) -> dict[str, npt.NDArray[Any]]:
    """Returns all that the function computes; see ``checked_features``.

    Raises:
        OnDemandError: The function failed, or returned another number of rows.
    """
    try:
        made = {name: np.asarray(values) for name, values in function(inputs).items()}
    except Exception as exc:
        raise OnDemandError(f"The on-demand function failed: {exc!r}.") from exc
    for name, values in made.items():
        if values.shape != (num_rows,):
            raise OnDemandError(f"The on-demand feature '{name}' has shape {values.shape}, not ({num_rows},).")
    return made
