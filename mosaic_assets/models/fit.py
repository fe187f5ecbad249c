"""Fitting a model: choose settings on the validation split, refit with it, score the test split once, export."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.models.batches import Matrices, encode_rows, fit_encoding
from mosaic_assets.models.fitted import Estimator, FittedModel, Scored
from mosaic_assets.models.scores import scores
from mosaic_assets.models.tuning import Settings, Trial, best_trial, run_trials
from mosaic_resources.bentos.encoding import Encoding
from mosaic_resources.errors import UserError

__all__ = ["MakeEstimator", "ModelData", "fit_model"]

# Encoding, settings, name of the run within this fit (trial-0, refit) → the estimator.
MakeEstimator = Callable[[Encoding, Settings, str], Estimator]
SPLIT_COLUMN = "split"
SAMPLE_ROWS = 512


@dataclass(frozen=True)
class ModelData:
    """A dataset's rows, and what a model reads of them.

    Args:
        rows: All splits; the column ``split`` says which.
        columns: Columns that the model reads.
        label: Label column.
    """

    rows: pa.Table
    columns: tuple[str, ...]
    label: str

    def split(self, *names: str) -> pa.Table:
        """Returns the rows of some splits."""
        return self.rows.filter(pc.is_in(self.rows[SPLIT_COLUMN], pa.array(names)))


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
    training and validation in the refit. The test split is scored once, by the refitted model.

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
    if len(trials) > 1 and not validation.num_rows:
        raise UserError(
            "Several trials need a validation split.", "tuning", "Hold out validation_months, or try one setting."
        )
    scored: dict[str, Scored] = {}
    tried: list[Trial] = []
    settings = trials[0]
    if len(trials) > 1 or (measure and validation.num_rows):
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
    training = data.split("train")
    encoding = fit_encoding(training, data.columns)
    fit_on, judge_on = (encode_rows(rows, encoding, data.label) for rows in (training, data.split("validation")))
    found: list[Scored] = []

    def attempt(settings: Settings) -> Trial:
        model = make(encoding, settings, f"trial-{len(found)}")
        seconds = model.fit(fit_on, judge_on)
        found.append(_scored(model, judge_on))
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
