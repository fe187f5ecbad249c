"""From named columns to the two matrices that every model takes. Fitted where models are, applied everywhere."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mosaic_resources.errors import UserError

__all__ = ["Encoding", "EncodingError"]

FORMAT_VERSION = 1
# Code of a category that is missing, or that the training split never held.
UNKNOWN = 0

Numeric = npt.NDArray[np.float32]
Categorical = npt.NDArray[np.int64]


class EncodingError(UserError):
    """The columns do not fit the encoding that the model was fitted with."""


@dataclass(frozen=True)
class Encoding:
    """Which columns a model reads, in which order, and the number of each category.

    Args:
        numeric: Names of the numeric columns.
        categorical: Name of each categorical column → its vocabulary; the value at position i has code i + 1.

    Example:
        >>> encoding = Encoding(("delay",), {"carrier": ("AA", "UA")})
        >>> numeric, categorical = encoding.encode({"delay": np.array([3.0, None]), "carrier": np.array(["UA", "??"])})
        >>> numeric.tolist(), categorical.tolist()
        ([[3.0], [nan]], [[2], [0]])
    """

    numeric: tuple[str, ...]
    categorical: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [*self.numeric, *self.categorical]
        if len(set(names)) < len(names) or not names:
            raise EncodingError(
                "The columns of an encoding must be unique, and at least one.", do=f"They are: {names}."
            )
        for name, vocabulary in self.categorical.items():
            if len(set(vocabulary)) < len(vocabulary) or not all(isinstance(value, str) for value in vocabulary):
                raise EncodingError("A vocabulary holds each text once, and only texts.", f"column '{name}'")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that must be given: numeric ones, then categorical ones."""
        return (*self.numeric, *self.categorical)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Number of codes of each categorical column, ``UNKNOWN`` included."""
        return tuple(len(vocabulary) + 1 for vocabulary in self.categorical.values())

    def encode(self, columns: Mapping[str, npt.NDArray[Any]]) -> tuple[Numeric, Categorical]:
        """Returns the matrices of the rows.

        Args:
            columns: Name → (rows,) values: numbers or booleans for numeric columns, texts for categorical ones;
                missing values are NaN or None. Further columns are left aside.

        Returns:
            (rows, num_numeric) float32, where NaN is missing (or beyond float32), and
            (rows, num_categorical) int64, where 0 is missing or unknown.

        Raises:
            EncodingError: A column is absent, is not of its kind, or has another number of rows.
        """
        num_rows = self._num_rows(columns)
        # (num_columns, rows), so that each column is written in one run; the model reads the transpose
        numeric = np.empty((len(self.numeric), num_rows), np.float32)
        with np.errstate(over="ignore"):  # what lies beyond float32 becomes infinite, and so missing
            for position, name in enumerate(self.numeric):
                numeric[position] = _numbers(columns[name], name)
        numeric[~np.isfinite(numeric)] = np.nan
        categorical = np.empty((len(self.categorical), num_rows), np.int64)
        for position, (name, codes) in enumerate(self._codes.items()):
            categorical[position] = _lookup(columns[name], codes, name)
        return np.ascontiguousarray(numeric.T), np.ascontiguousarray(categorical.T)

    def to_json(self) -> str:
        """Returns the encoding as JSON text."""
        return json.dumps(
            {
                "format_version": FORMAT_VERSION,
                "numeric": list(self.numeric),
                "categorical": {name: list(values) for name, values in self.categorical.items()},
            },
            indent=1,
        )

    @classmethod
    def from_json(cls, text: str) -> "Encoding":
        """Returns the encoding that a JSON text holds.

        Raises:
            EncodingError: The text holds none, or one of another format.
        """
        try:
            values = json.loads(text)
            version = values["format_version"]
            numeric = tuple(str(name) for name in values["numeric"])
            categorical = {str(name): tuple(vocabulary) for name, vocabulary in values["categorical"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise EncodingError(f"This is no encoding: {exc!r}.", do="Train the model again.") from exc
        if version != FORMAT_VERSION:
            raise EncodingError(
                f"The encoding has format {version}, not {FORMAT_VERSION}.", do="Train the model again."
            )
        return cls(numeric, categorical)

    @cached_property
    def _codes(self) -> dict[str, dict[str, int]]:
        return {
            name: {value: code for code, value in enumerate(vocabulary, start=UNKNOWN + 1)}
            for name, vocabulary in self.categorical.items()
        }

    def _num_rows(self, columns: Mapping[str, npt.NDArray[Any]]) -> int:
        absent = [name for name in self.columns if name not in columns]
        if absent:
            raise EncodingError(
                f"Column '{absent[0]}' is absent.",
                do=f"{len(absent)} of {len(self.columns)} are; given: {', '.join(columns) or 'none'}.",
            )
        num_rows = len(columns[self.columns[0]])
        for name in self.columns:
            if np.shape(columns[name]) != (num_rows,):
                raise EncodingError(f"Column '{name}' has shape {np.shape(columns[name])}, not ({num_rows},).")
        return num_rows


def _numbers(values: npt.NDArray[Any], name: str) -> npt.NDArray[np.float64]:
    given = np.asarray(values)
    if given.dtype.kind not in "biufO" or (
        given.dtype.kind == "O" and any(isinstance(value, str | bytes) for value in given)
    ):
        raise EncodingError(f"Column '{name}' holds {_kind(given)}, the model needs numbers.")
    try:
        return given.astype(np.float64)  # None becomes NaN
    except (TypeError, ValueError) as exc:
        raise EncodingError(f"Column '{name}' holds values that are no numbers: {exc}.") from exc


def _lookup(values: npt.NDArray[Any], codes: Mapping[str, int], name: str) -> list[int]:
    given = np.asarray(values)
    texts = given.tolist()
    if given.dtype.kind not in "UO" or not all(
        _is_text_or_missing(value) for value in texts if value.__class__ is not str
    ):
        raise EncodingError(f"Column '{name}' holds {_kind(given)}, the model needs texts.")
    return [codes.get(text, UNKNOWN) for text in texts]


def _is_text_or_missing(value: object) -> bool:
    return value is None or isinstance(value, str) or (isinstance(value, float) and value != value)


def _kind(values: npt.NDArray[Any]) -> str:
    kinds = {"M": "times", "m": "durations", "U": "texts", "S": "bytes", "c": "complex numbers"}
    return kinds.get(values.dtype.kind, f"values of type {values.dtype}")
