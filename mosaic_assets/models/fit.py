"""Fitting a model: choose settings on held-out rows, refit with them, score the test split once, export."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.datasets.splits import FOLD_COLUMN, SPLIT_COLUMN
from mosaic_assets.models.batches import Matrices, encode_rows, fit_encoding
from mosaic_assets.models.fitted import Estimator, FittedModel, Scored
from mosaic_assets.models.scores import scores
from mosaic_assets.models.tuning import Settings, Trial, best_trial, run_trials
from mosaic_resources.bentos.encoding import Encoding
from mosaic_resources.errors import UserError

__all__ = ["MakeEstimator", "ModelData", "fit_model"]

# Encoding, settings, name of the run within this fit (trial-0, refit) → the estimator.
MakeEstimator = Callable[[Encoding, Settings, str], Estimator]
SAMPLE_ROWS = 512


@dataclass(frozen=True)
class ModelData:
    """A dataset's rows, and what a model reads of them.

    Args:
        rows: All splits; the column ``split`` says which.
        columns: Columns that the model reads.
        label: Label column.
        folds_in_time: Whether a fold is judged on after a fit to the earlier ones alone.
    """

    rows: pa.Table
    columns: tuple[str, ...]
    label: str
    folds_in_time: bool = False

    @property
    def has_folds(self) -> bool:
        """Whether the dataset declares folds: then trials are judged on them, not on the validation split."""
        return FOLD_COLUMN in self.rows.column_names

    def split(self, *names: str) -> pa.Table:
        """Returns the rows of some splits."""
        return self.rows.filter(pc.is_in(self.rows[SPLIT_COLUMN], pa.array(names)))

    def judgements(self) -> Iterator[tuple[pa.Table, pa.Table]]:
        """Yields (rows to fit to, rows to judge on): one pair, or one for each fold."""
        if not self.has_folds:
            yield self.split("train"), self.split("validation")
            return
        fold = self.rows[FOLD_COLUMN]
        for number in sorted(pc.unique(fold.drop_null()).to_pylist())[int(self.folds_in_time) :]:
            fit = pc.less(fold, number) if self.folds_in_time else pc.not_equal(fold, number)
            yield self.rows.filter(fit), self.rows.filter(pc.equal(fold, number))


def fit_model(
    data: ModelData,
    make: MakeEstimator,
    folder: Path,
    *,
    trials: Sequence[Settings] = ({},),
    measure: bool = True,
    metric: str = "roc_auc",
    greater_is_better: bool = True,
) -> FittedModel:
    """Returns the fitted model, exported to ``folder``.

    Vocabularies and all other statistics come from the rows of each fit alone: the training split in the trials,
    training and validation in the refit. The test split is scored once, by the refitted model. Where the dataset has
    folds, each trial is fitted once for each fold and judged on all held-out rows together.

    Args:
        data: The rows.
        make: Makes an estimator.
        folder: Model folder to write.
        trials: Settings to choose from.
        measure: Whether a single setting is tried too, for a validation metric; a retraining refits at once.
        metric: Metric of the validation split that decides.
        greater_is_better: Whether more of it is better.

    Raises:
        UserError: There is nothing to train on, or several trials and nothing to judge them on.
    """
    training, validation, test = (data.split(name) for name in ("train", "validation", "test"))
    if not training.num_rows:
        raise UserError("The dataset has no rows to train on.", data.label)
    judged = bool(validation.num_rows) or data.has_folds
    if len(trials) > 1 and not judged:
        raise UserError(
            "Several trials need a validation split or folds.", "tuning", "Declare one, or try one setting."
        )
    scored: dict[str, Scored] = {}
    tried: list[Trial] = []
    settings = trials[0]
    if len(trials) > 1 or (measure and judged):
        tried, settings, scored["validation"] = _choose(data, make, trials, metric, greater_is_better)
    encoding = fit_encoding(data.split("train", "validation"), data.columns)
    model = make(encoding, settings, "refit")
    everything = encode_rows(data.split("train", "validation"), encoding, data.label)
    seconds = model.fit(everything)
    if test.num_rows:
        scored["test"] = _scored(model, encode_rows(test, encoding, data.label))
    difference = model.export(folder, _sample(everything))
    fitted = getattr(model, "fitted", None)
    return FittedModel(
        folder=folder,
        encoding=encoding,
        settings=settings,
        trials=tuple(tried),
        metrics=_metrics(scored),
        scored=scored,
        num_rows={"train": training.num_rows, "validation": validation.num_rows, "test": test.num_rows},
        seconds=seconds,
        export_difference=difference,
        points=fitted.points if fitted else (),
        fired=fitted.fired if fitted else {},
    )


def _choose(
    data: ModelData, make: MakeEstimator, trials: Sequence[Settings], metric: str, greater_is_better: bool
) -> tuple[list[Trial], Settings, Scored]:
    pairs: list[tuple[Encoding, Matrices, Matrices]] = []
    for fit_on, judge_on in data.judgements():
        encoding = fit_encoding(fit_on, data.columns)
        encoded = [encode_rows(rows, encoding, data.label) for rows in (fit_on, judge_on)]
        pairs.append((encoding, encoded[0], encoded[1]))
    found: list[Scored] = []

    def attempt(settings: Settings) -> Trial:
        seconds, held_out = 0.0, list[Scored]()
        for number, (encoding, training, held) in enumerate(pairs):
            name = f"trial-{len(found)}" + (f"-fold-{number}" if data.has_folds else "")
            model = make(encoding, settings, name)
            seconds += model.fit(training, held)
            held_out.append(_scored(model, held))
        labels, probabilities = (np.concatenate(parts) for parts in zip(*held_out, strict=True))
        found.append((labels, probabilities))
        return Trial(settings, scores(*found[-1]), seconds)

    tried = run_trials(trials, attempt)
    best = best_trial(tried, metric, greater_is_better)
    return tried, best.settings, found[tried.index(best)]


def _scored(model: Estimator, data: Matrices) -> Scored:
    return data.label, model.probability(data)


def _sample(data: Matrices) -> Matrices:
    rows = np.linspace(0, data.num_rows - 1, min(SAMPLE_ROWS, data.num_rows)).astype(np.int64)
    return Matrices(data.numeric[rows], data.categorical[rows], data.label[rows])


def _metrics(scored: Mapping[str, Scored]) -> dict[str, float]:
    found: dict[str, float] = {}
    for split, (label, probability) in scored.items():
        of_split = scores(label, probability)
        found |= {f"{split}_{name}": value for name, value in of_split.items()} | of_split
    return found
