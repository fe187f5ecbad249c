"""From what the YAML says of splits and samples to a ``Splitting``."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from mosaic_assets.datasets.splits import SPLITS, Sample, Splitting
from mosaic_assets.datasets.time_splits import TimeSplit
from mosaic_resources.errors import UserError

__all__ = ["sample_of", "splitting_of"]

Held = float | str | None


def splitting_of(
    held: Mapping[str, Held],
    months: TimeSplit | None,
    cutoff: datetime,
    *,
    split_col: str | None = None,
    time_col: str | None = None,
    stratify_by: Sequence[str] = (),
    group_by: Sequence[str] = (),
    seed: int = 17,
    n_splits: int = 0,
    sample: Sample | None = None,
    where: str = "split",
) -> Splitting:
    """Returns the declaration as one value.

    Args:
        held: ``train``, ``validation``, ``test`` → all of them shares, or all of them ends as ISO dates.
        months: Whole months to hold out; None: not declared.
        cutoff: The time that the dataset is made as of.
        split_col: Column of the entity table that holds the split.
        time_col: Column that a split by time looks at.
        stratify_by: Columns whose shares are kept.
        group_by: Columns whose rows stay together.
        seed: Decides every draw.
        n_splits: Folds; 0: none.
        sample: Which rows are drawn.
        where: ``file:line`` for the message.

    Raises:
        UserError: The parts contradict each other.
    """
    named = {name: value for name, value in held.items() if value is not None}
    numbers = [value for value in named.values() if not isinstance(value, str)]
    ways = [bool(named), months is not None, split_col is not None]
    _refuse(sum(ways) > 1, "Shares or ends, months, and 'split_col' exclude each other.", where, "Keep one of them.")
    _refuse(0 < len(numbers) < len(named), f"{_shown(named)} mixes shares and ends.", where, "Write one of them.")
    _refuse(
        bool(stratify_by) and bool(group_by), "'stratify_by' and 'group_by' exclude each other.", where,
        "Groups cannot be divided to fit the strata: keep one of them.",
    )  # fmt: skip
    _refuse(n_splits == 1, "One fold is none.", where, "Give n_splits of 2 or more.")
    common = Splitting(
        split_col=split_col, time_col=time_col, stratify_by=tuple(stratify_by), group_by=tuple(group_by),
        seed=seed, n_splits=n_splits, sample=sample,
    )  # fmt: skip
    if split_col is not None:
        return common
    if numbers:
        common = Splitting(**{**vars(common), "shares": _shares(named, where)})
    else:
        bounds = _ends(named, where) if named else (months or TimeSplit()).bounds(cutoff)
        common = Splitting(**{**vars(common), "bounds": bounds})
    _refuse(
        common.by_time and bool(stratify_by or group_by), "A split by time has neither strata nor groups.", where,
        "Drop 'stratify_by' and 'group_by', or give shares without 'time_col'.",
    )  # fmt: skip
    return common


def sample_of(rows: int | None, share: float | None, stratify_by: Sequence[str], where: str) -> Sample:
    """Returns the declared sample.

    Raises:
        UserError: Both or neither of rows and share are given.
    """
    _refuse((rows is None) == (share is None), "A sample needs 'rows' or 'share', one of them.", where, None)
    return Sample(rows, share, tuple(stratify_by))


def _shares(named: Mapping[str, Held], where: str) -> tuple[float, ...]:
    given = {name: float(value) for name, value in named.items() if value is not None}
    if "train" not in given:
        given["train"] = 1.0 - sum(given.values())
    shares = tuple(given.get(name, 0.0) for name in SPLITS)
    wrong = min(shares) < 0 or shares[0] <= 0 or abs(sum(shares) - 1.0) > 1e-9
    _refuse(wrong, f"The shares {_shown(named)} do not make 1.", where, "Leave out 'train': it takes the rest.")
    return shares


def _ends(named: Mapping[str, Held], where: str) -> tuple[datetime, ...]:
    _refuse("train" not in named, "A split by ends needs the end of 'train'.", where, "Give train: <date>.")
    ends: list[datetime] = []
    for name in SPLITS:
        text = str(named[name]) if name in named else None
        try:
            end = datetime.fromisoformat(text) if text else ends[-1]
        except ValueError as exc:
            raise UserError(f"'{text}' is no date.", where, "Write 2024-06-01 or 2024-06-01T12:00:00+00:00.") from exc
        ends.append(end if end.tzinfo else end.replace(tzinfo=UTC))
    _refuse(ends != sorted(ends), f"The ends {_shown(named)} do not ascend.", where, "Order: train, validation, test.")
    return tuple(ends)


def _shown(named: Mapping[str, Held]) -> str:
    return "{" + ", ".join(f"{name}: {value}" for name, value in named.items()) + "}"


def _refuse(wrong: bool, what: str, where: str, do: str | None) -> None:
    if wrong:
        raise UserError(what, where, do)
