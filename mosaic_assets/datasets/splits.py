"""How a dataset's rows are drawn, held out and folded: one declaration, pure functions of rows and seed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.datasets.assignment import first_by_hash, grouped_parts, random_parts, stratified_parts
from mosaic_assets.datasets.empty_split import empty_part
from mosaic_assets.datasets.time_splits import bounds_by_share, parts_by_time, time_blocks
from mosaic_assets.features.historical import microseconds
from mosaic_assets.key_hash import key_hash
from mosaic_resources.errors import UnknownNameError, UserError

__all__ = ["FOLD_COLUMN", "SPLITS", "SPLIT_COLUMN", "Sample", "Splitting", "fold_column", "sampled", "split_column"]

SPLITS = ("train", "validation", "test")
SPLIT_COLUMN, FOLD_COLUMN = "split", "fold"
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sample:
    """Which rows are drawn before anything is joined.

    Args:
        rows: How many; None: ``share`` says it.
        share: Share of the rows, 0 to 1.
        stratify_by: Columns whose shares are kept, to within one row.
    """

    rows: int | None = None
    share: float | None = None
    stratify_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Splitting:
    """How rows are held out. Exactly one of ``bounds``, ``shares``, ``split_col`` decides.

    Args:
        bounds: Ends of train, validation and test.
        shares: Shares of train, validation and test, 1 together.
        split_col: Column of the entity table that holds the split.
        time_col: Column that a split by time looks at; with ``shares``, it makes them shares of time order.
        stratify_by: Columns whose shares are the same in all splits and folds.
        group_by: Columns whose rows are never divided between splits or folds.
        seed: Decides every draw.
        n_splits: Folds of what is not tested; 0: none.
        sample: Which rows are drawn; None: all.
    """

    bounds: tuple[datetime, ...] = ()
    shares: tuple[float, ...] = ()
    split_col: str | None = None
    time_col: str | None = None
    stratify_by: tuple[str, ...] = ()
    group_by: tuple[str, ...] = ()
    seed: int = 17
    n_splits: int = 0
    sample: Sample | None = None

    @property
    def by_time(self) -> bool:
        """Whether what is newer is held out, in splits and in folds."""
        return bool(self.bounds) or self.time_col is not None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the entity table that it looks at."""
        named = (self.split_col, self.time_col, *self.stratify_by, *self.group_by)
        drawn = self.sample.stratify_by if self.sample else ()
        return tuple(dict.fromkeys(name for name in (*named, *drawn) if name))

    def pinned(self, rows: pa.Table, end: datetime, timestamp_field: str) -> "Splitting":
        """Returns the same, with the bounds that shares of time come to on these rows."""
        if not self.shares or self.time_col is None:
            return self
        at = microseconds(rows[self.time_col or timestamp_field], self.time_col)
        return replace(self, bounds=bounds_by_share(at, self.shares, end), shares=())

    def to_dict(self) -> dict[str, Any]:
        """Returns what is declared, as JSON values; nothing for whole rows split at bounds."""
        plain = asdict(replace(self, bounds=()))
        plain["sample"] = {name: value for name, value in (plain["sample"] or {}).items() if value}
        said = {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items() if value}
        drawn = {"shares", "n_splits", "sample"} & set(said)
        return said if drawn else {name: value for name, value in said.items() if name != "seed"}

    @classmethod
    def of(cls, said: Mapping[str, Any], bounds: Sequence[str]) -> "Splitting":
        """Returns what ``to_dict`` and the bounds as ISO texts say."""
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in said.items()
        }
        if drawn := plain.pop("sample", None):
            plain["sample"] = Sample(**{**drawn, "stratify_by": tuple(drawn.get("stratify_by", ()))})
        return cls(bounds=tuple(datetime.fromisoformat(text) for text in bounds), **plain)


def sampled(rows: pa.Table, key: Sequence[str], splitting: Splitting) -> pa.Table:
    """Returns the rows that are drawn, in their order; the same keys are drawn on every engine and in every order.

    Args:
        rows: Rows whose ``key`` is unique.
        key: Columns that identify a row.
        splitting: The declaration.
    """
    sample = splitting.sample
    if sample is None:
        return rows
    wanted = sample.rows if sample.rows is not None else round((sample.share or 0.0) * rows.num_rows)
    strata = key_hash(rows, sample.stratify_by, "stratum") if sample.stratify_by else None
    return rows.filter(pa.array(first_by_hash(key_hash(rows, key, f"sample:{splitting.seed}"), wanted, strata)))


def split_column(
    rows: pa.Table, key: Sequence[str], timestamp_field: str, splitting: Splitting, where: str
) -> pa.ChunkedArray:
    """Returns (rows,) names of the splits; every row is in exactly one.

    Args:
        rows: Rows whose ``key`` is unique.
        key: Columns that identify a row.
        timestamp_field: Time that a row looks from.
        splitting: The declaration, pinned.
        where: Dataset for the message.

    Raises:
        UserError: A split that was asked for has no rows, or ``split_col`` holds something else.
    """
    if splitting.split_col is not None:
        return _declared(rows[splitting.split_col], splitting.split_col, where)
    if splitting.bounds:
        time_col = splitting.time_col or timestamp_field
        at = microseconds(rows[time_col], time_col)
        parts, widths = parts_by_time(at, splitting.bounds), _widths(splitting.bounds)
    else:
        parts, widths = _parts(rows, key, splitting, splitting.shares, "split"), list(splitting.shares)
    for number, name in enumerate(SPLITS):
        if (widths[number] > 0 or number == 0) and not (parts == number).any():
            if splitting.bounds and len(at):
                raise empty_part(name, number, at, splitting.bounds, time_col, rows.num_rows, where)
            raise UserError(
                f"The split '{name}' of {rows.num_rows} rows has none.", where, "Land more, or hold out less."
            )
    return pa.chunked_array([pa.array(np.array(SPLITS)[parts], pa.string())])


def fold_column(
    rows: pa.Table, key: Sequence[str], timestamp_field: str, splitting: Splitting, where: str
) -> pa.ChunkedArray:
    """Returns (rows,) int64 numbers of the folds, NULL for rows of the test split.

    By keys, fold ``k`` of ``n_splits`` is judged on after a fit to all others. By time, fold ``k`` from 1 on is judged
    on after a fit to those before it, as scikit-learn's ``TimeSeriesSplit``.

    Args:
        rows: Rows with the column ``split``.
        key: Columns that identify a row.
        timestamp_field: Time that a row looks from.
        splitting: The declaration.
        where: Dataset for the message.

    Raises:
        UserError: A fold has no rows.
    """
    learnt = pc.not_equal(rows[SPLIT_COLUMN], "test")
    inside = rows.filter(learnt)
    if splitting.by_time:
        name = splitting.time_col or timestamp_field
        folds = time_blocks(microseconds(inside[name], name), splitting.n_splits + 1, where)
    else:
        equal = [1 / splitting.n_splits] * splitting.n_splits
        folds = _parts(inside, key, splitting, equal, "fold")
        if len(np.unique(folds)) < splitting.n_splits:
            raise UserError(f"{inside.num_rows} rows do not fill {splitting.n_splits} folds.", where, "Lower n_splits.")
    position = np.cumsum(np.asarray(learnt)) - 1
    return pa.chunked_array([pa.array(folds).take(pa.array(position, mask=~np.asarray(learnt)))])


def _parts(rows: pa.Table, key: Sequence[str], splitting: Splitting, shares: Sequence[float], kind: str) -> Ints:
    salt = f"{kind}:{splitting.seed}"
    if splitting.group_by:
        return grouped_parts(key_hash(rows, splitting.group_by, salt), shares)
    hashes = key_hash(rows, key, salt)
    if splitting.stratify_by or kind == "fold":
        return stratified_parts(hashes, key_hash(rows, splitting.stratify_by, "stratum"), shares)
    return random_parts(hashes, shares)


def _declared(column: pa.ChunkedArray, name: str, where: str) -> pa.ChunkedArray:
    for value in pc.unique(column).to_pylist():
        if value not in SPLITS:
            raise UnknownNameError(f"split in '{name}'", str(value), SPLITS, where)
    if not pc.any(pc.equal(column, "train")).as_py():
        raise UserError("The split 'train' has no rows.", where, f"'{name}' must name it.")
    return pc.cast(column, pa.string())


def _widths(bounds: Sequence[datetime]) -> list[float]:
    return [1.0, *((later - earlier).total_seconds() for earlier, later in pairwise(bounds))]
