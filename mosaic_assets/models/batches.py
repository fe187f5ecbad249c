"""From Arrow rows to matrices, and from matrices to seeded batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch.utils.data import DataLoader, IterableDataset

from mosaic_assets.features.model_columns import model_columns
from mosaic_resources.bentos.encoding import Encoding
from mosaic_resources.errors import UnknownNameError, UserError

__all__ = ["Batch", "BatchStream", "Matrices", "arrow_columns", "batch_loader", "encode_rows", "fit_encoding"]

SMALLEST_CATEGORY = 10


@dataclass(frozen=True)
class Matrices:
    """Encoded rows.

    Args:
        numeric: (rows, num_numeric) float32, NaN for missing.
        categorical: (rows, num_categorical) int64, 0 for unknown or missing.
        label: (rows,) float32, 0 or 1.
    """

    numeric: npt.NDArray[np.float32]
    categorical: npt.NDArray[np.int64]
    label: npt.NDArray[np.float32]

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self.label)


def fit_encoding(rows: pa.Table, columns: Sequence[str], smallest_category: int = SMALLEST_CATEGORY) -> Encoding:
    """Returns the encoding that training rows give: texts are categories, numbers and booleans are numeric.

    Args:
        rows: Rows of the training split alone.
        columns: Columns that the model reads, in order.
        smallest_category: Rows that a category needs to have a code of its own.

    Raises:
        UnknownNameError: A column is not in the rows.
        UserError: A column is neither text nor number.
    """
    numeric: list[str] = []
    categorical: dict[str, tuple[str, ...]] = {}
    for name in columns:
        if name not in rows.column_names:
            raise UnknownNameError("column", name, rows.column_names, "the model's columns")
        kind = rows.schema.field(name).type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            categorical[name] = _vocabulary(rows[name], smallest_category)
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
            numeric.append(name)
        else:
            raise UserError(
                f"Column '{name}' is {kind}; a model reads numbers and texts.",
                do="Leave it out, or make a number of it.",
            )
    return Encoding(tuple(numeric), categorical)


def _vocabulary(column: pa.ChunkedArray, smallest: int) -> tuple[str, ...]:
    counts = pc.value_counts(column.drop_null()).to_pylist()
    # Most frequent first; ties by text, so the codes do not depend on the order of rows.
    common = sorted((-item["counts"], item["values"]) for item in counts if item["counts"] >= smallest)
    return tuple(value for _, value in common)


def arrow_columns(rows: pa.Table, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Returns columns as (rows,) NumPy arrays: texts as objects with None, the rest as float64 with NaN."""
    for name in names:
        if name not in rows.column_names:
            raise UnknownNameError("column", name, rows.column_names, "the model's columns")
    # An int64 beyond 2^53 loses digits here, as it would in the model's float32.
    return model_columns({name: rows[name] for name in names})


def encode_rows(rows: pa.Table, encoding: Encoding, label: str) -> Matrices:
    """Returns the matrices of rows.

    Raises:
        UserError: A label is missing, or is neither 0 nor 1.
    """
    numeric, categorical = encoding.encode(arrow_columns(rows, encoding.columns))
    labels = np.asarray(arrow_columns(rows, [label])[label], np.float32)
    if not np.isin(labels, (0.0, 1.0)).all():
        raise UserError(
            f"The label '{label}' must be 0 or 1 in every row.", do="Leave rows without a label out of the dataset."
        )
    return Matrices(numeric, categorical, labels)


class Batch(tuple[torch.Tensor, ...]):
    """(numeric, categorical, label) of one batch.

    Composer copies each batch deeply, in case an algorithm edits it in place; none that fits a table does.
    """

    __slots__ = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> "Batch":
        return self


class BatchStream(IterableDataset[Batch]):
    """Whole batches in an order that only seed and epoch decide; continues inside an epoch after a resume.

    Args:
        data: The rows.
        batch_size: Rows of a batch.
        seed: Seed of the order; None keeps the rows' own order and the incomplete last batch.
    """

    def __init__(self, data: Matrices, batch_size: int, seed: int | None) -> None:
        self._tensors = [torch.from_numpy(values) for values in (data.numeric, data.categorical, data.label)]
        self.num_rows, self.batch_size, self.seed = data.num_rows, batch_size, seed
        if not len(self):
            raise UserError(f"{data.num_rows} rows do not fill one batch of {batch_size}.", do="Choose a smaller one.")
        self._epoch, self._first_batch, self._resumed = -1, 0, False

    def __len__(self) -> int:
        return self.num_rows // self.batch_size if self.seed is not None else -(-self.num_rows // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        # Composer stops reading after the last batch, so whatever an epoch changes is changed at its start.
        self._epoch += not self._resumed
        first, self._first_batch, self._resumed = self._first_batch, 0, False
        order = self._order(self._epoch)
        for number in range(first, len(self)):
            rows = slice(number * self.batch_size, (number + 1) * self.batch_size)
            if order is None:
                yield Batch(tensor[rows] for tensor in self._tensors)
            else:
                chosen = order[rows]
                yield Batch(tensor.index_select(0, chosen) for tensor in self._tensors)

    def state_dict(self, num_samples: int, from_beginning: bool) -> dict[str, int]:
        """Returns where the stream is, after ``num_samples`` rows of the current epoch."""
        return {"epoch": self._epoch, "batch": num_samples // self.batch_size}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes to where another stream was; an epoch that was read to its end is followed by the next."""
        self._epoch, self._first_batch = state["epoch"], state["batch"]
        self._resumed = self._first_batch > 0

    def _order(self, epoch: int) -> torch.Tensor | None:
        if self.seed is None:
            return None
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        return torch.randperm(self.num_rows, generator=generator)


def batch_loader(data: Matrices, batch_size: int, seed: int | None) -> DataLoader[Batch]:
    """Returns the loader that Composer takes batches and their state from.

    Its own generator keeps the global one untouched: otherwise each epoch would draw a seed from it.
    """
    return DataLoader(BatchStream(data, batch_size, seed), batch_size=None, generator=torch.Generator())
