"""The Dagster face of models: the one that Composer trains, and its reference."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from mosaic_assets.asset_fields import AssetFields
from mosaic_assets.catalogue import reference, where
from mosaic_assets.datasets.component import DatasetComponent
from mosaic_assets.features.component import feature_service
from mosaic_assets.models.gates import ValidationThreshold
from mosaic_assets.models.recipe import Recipe
from mosaic_assets.orchestration.station import station
from mosaic_assets.tables.query import read_text
from mosaic_assets.work import Made, Work, code_hash
from mosaic_resources.errors import UserError

if TYPE_CHECKING:
    from mosaic_assets.models.train_step import Declaration

__all__ = ["ModelComponent", "ReferenceModelComponent", "ThresholdFields", "TuningFields"]

RECIPE_FIELDS = (
    "max_duration", "batch_size", "optimizers", "schedulers", "algorithms", "callbacks", "seed", "num_threads",
    "save_interval", "autoresume",
)  # fmt: skip
GATES = "validation_thresholds"


class ThresholdFields(dg.Model):
    """What a metric must reach; named as MLflow's MetricThreshold."""

    threshold: float | None = Field(None, description="The value to reach.", examples=[0.76])
    min_absolute_change: float | None = Field(None, description="By how much the champion must be beaten.")
    min_relative_change: float | None = Field(None, description="The same, as a share of the champion's value.")
    greater_is_better: bool = Field(True, description="Whether more is better.")


class TuningFields(dg.Model, dg.Resolvable):
    """Which settings are tried; the validation split decides."""

    num_trials: int = Field(1, ge=1, description="The declared settings, and so many less one drawn from the space.")
    space: Mapping[str, Sequence[Any]] = Field(
        {}, description="Setting → values; parts by dots.", examples=[{"optimizers.adamw.lr": [0.002, 0.005]}]
    )
    metric: str = Field("roc_auc", description="Metric that decides.")
    greater_is_better: bool = Field(True, description="Whether more of it is better.")


def _declared_alone() -> TuningFields:
    return TuningFields.model_validate({})


class ModelComponent(AssetFields, dg.Component, dg.Resolvable):
    """A network trained by Composer's Trainer, tracked and registered in MLflow, promoted through its thresholds."""

    name: str = Field(description="Name of the registered model.", examples=["my_model"])
    dataset: str = Field(description="Dataset, by name.", examples=["my_dataset"])
    columns: Sequence[str] = Field((), description="Columns to read; default: all that a request can provide.")
    exclude_columns: Sequence[str] = Field(
        (), description="Columns not to read, such as keys.", examples=[["thing_id"]]
    )
    network_file: str | None = Field(
        None, description="Python file with def network(spec, **network).", examples=["network.py"]
    )
    network: Mapping[str, Any] = Field({}, description="Arguments of the network.", examples=[{"hidden": [128, 64]}])
    max_duration: str = Field("4ep", description="How long to train: 4ep, 1000ba.")
    batch_size: int = Field(1024, ge=1, description="Rows of a batch; all of them where there are fewer to train on.")
    optimizers: Mapping[str, Mapping[str, Any]] = Field(
        {"adamw": {"lr": 0.003, "weight_decay": 0.01}}, description="One optimizer → its arguments."
    )
    schedulers: Mapping[str, Mapping[str, Any]] = Field(
        {"cosine_annealing_with_warmup": {"t_warmup": "0.2dur"}}, description="Scheduler → its arguments."
    )
    algorithms: Mapping[str, Mapping[str, Any]] = Field(
        {}, description="Composer's algorithm → its arguments.", examples=[{"ema": {"half_life": "20ba"}}]
    )
    callbacks: Mapping[str, Mapping[str, Any]] = Field(
        {}, description="Composer's callback → its arguments.", examples=[{"lr_monitor": {}}]
    )
    seed: int = Field(17, ge=0, description="Decides initial weights, order of rows, dropout, trials.")
    num_threads: int = Field(1, ge=1, description="Threads of one operation; more only where cores are idle.")
    save_folder: str | None = Field(None, description="Keeps checkpoints, in this folder below the state folder.")
    save_interval: str = Field("1ep", description="Time between checkpoints.")
    autoresume: bool = Field(True, description="Whether a run that was killed goes on from its newest checkpoint.")
    tuning: TuningFields = Field(default_factory=_declared_alone, description="Which settings are tried.")
    validation_thresholds: Mapping[str, ThresholdFields] = Field(
        description="Metric → what it must reach.", examples=[{"roc_auc": {"threshold": 0.76}}]
    )
    threshold: float = Field(0.5, ge=0, le=1, description="Probability from which on the label is taken as 1.")

    @property
    def key(self) -> str:
        """Key of the asset."""
        return f"models/{self.name}"

    def recipe(self) -> Recipe:
        """Returns how it is trained."""
        return Recipe(network=self.network, **{name: getattr(self, name) for name in RECIPE_FIELDS})

    def thresholds(self) -> dict[str, ValidationThreshold]:
        """Returns the demands."""
        return {metric: ValidationThreshold(**dict(fields)) for metric, fields in self.validation_thresholds.items()}

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Returns the asset of the model."""
        place, folder = where(context, GATES), Path(context.path)
        if not any(demand.threshold is not None for demand in self.thresholds().values()):
            raise UserError("No metric has a 'threshold': no first version could ever pass.", place, "Give one.")
        network = folder / self.network_file if self.network_file else None
        text = read_text(network, where(context, "network_file")) if network else ""
        declaration = partial(self.declaration, context, network)
        dataset = reference(context, DatasetComponent, self.dataset, "dataset")
        recipe = _placed(self.recipe, where(context, "optimizers"))
        for setting, values in self.tuning.space.items():
            for value in values:
                _placed(partial(recipe.with_settings, {setting: value}), where(context, "tuning"))
        asset = station(
            self,
            key=self.key,
            station_name="models",
            kinds=("composer", "mlflow", "onnx"),
            deps=[dataset.table],
            code=code_hash("model", recipe, text, self.columns, self.exclude_columns, self.tuning, self.thresholds()),
            run=lambda work: self.execute(work, declaration()),
            check_specs=[_check_spec(self.key)],
        )
        return dg.Definitions(assets=[asset])

    def declaration(self, context: dg.ComponentLoadContext, network: Path | None) -> "Declaration":
        """Returns the declaration as plain values."""
        from mosaic_assets.models.train_step import Declaration

        dataset = reference(context, DatasetComponent, self.dataset, "dataset")
        return Declaration(
            name=self.name,
            description=self.description or "",
            dataset=self.dataset,
            label=dataset.label,
            request=tuple(dataset.request),
            service=tuple(feature_service(context, dataset.feature_service).columns),
            columns=tuple(self.columns),
            exclude_columns=tuple(self.exclude_columns),
            num_trials=self.tuning.num_trials,
            space=self.tuning.space,
            metric=self.tuning.metric,
            greater_is_better=self.tuning.greater_is_better,
            seed=self.seed,
            thresholds=self.thresholds(),
            threshold=self.threshold,
            recipe=self.recipe(),
            network_file=network,
            save_folder=self.save_folder,
        )

    def execute(self, work: Work, declared: "Declaration") -> Made:
        """Trains, tracks, registers, judges."""
        from mosaic_assets.models.train_step import network_estimator, train_step

        with tempfile.TemporaryDirectory(prefix="mosaic-model-") as folder:
            return train_step(work, declared, network_estimator(work, declared), Path(folder))


class ReferenceModelComponent(AssetFields, dg.Component, dg.Resolvable):
    """scikit-learn's histogram boosting on the columns of a model, with as many trials; never promoted."""

    name: str = Field(description="Name of the registered model.", examples=["my_model_reference"])
    reference_of: str = Field(description="The model that it is the reference of, by name.", examples=["my_model"])
    arguments: Mapping[str, Any] = Field({}, description="Arguments of HistGradientBoostingClassifier.")
    space: Mapping[str, Sequence[Any]] = Field(
        {}, description="Argument → values to try.", examples=[{"max_iter": [100, 200]}]
    )

    @property
    def key(self) -> str:
        """Key of the asset."""
        return f"models/{self.name}"

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Returns the asset of the reference."""
        model = reference(context, ModelComponent, self.reference_of, "reference_of")
        if self.name == self.reference_of:
            raise UserError(
                "A reference needs a name of its own.", where(context, "name"), f"For instance {self.name}_reference."
            )
        asset = station(
            self,
            key=self.key,
            station_name="models",
            kinds=("scikitlearn", "mlflow", "onnx"),
            deps=[f"datasets/{model.dataset}"],
            code=code_hash("reference", self.arguments, self.space, model.columns, model.exclude_columns, model.tuning),
            run=lambda work: self.execute(work, model.declaration(context, None)),
        )
        return dg.Definitions(assets=[asset])

    def execute(self, work: Work, model: "Declaration") -> Made:
        """Fits, tracks and registers; the version gets no alias."""
        from dataclasses import replace

        from mosaic_assets.models.train_step import boosting_estimator, train_step

        description = self.description or f"The reference of {self.reference_of}."
        declared = replace(
            model, name=self.name, description=description, space=self.space, arguments=self.arguments,
            thresholds={}, recipe=None, promotable=False,
        )  # fmt: skip
        with tempfile.TemporaryDirectory(prefix="mosaic-model-") as folder:
            return train_step(work, declared, boosting_estimator(declared), Path(folder))


def _placed(make: Callable[[], Recipe], place: str) -> Recipe:
    """Returns what ``make`` makes; its errors name the place of the declaration.

    Raises:
        UserError: A setting is unknown, or a value does not fit it.
    """
    try:
        return make()
    except UserError as exc:
        raise UserError(exc.what, f"{place}, {exc.where}" if exc.where else place, exc.do) from exc


def _check_spec(key: str) -> dg.AssetCheckSpec:
    description = "The metrics of held-out rows reach what is declared."
    return dg.AssetCheckSpec(GATES, asset=dg.AssetKey(key.split("/")), description=description)
