"""One materialization of a model: dataset → trials → refit → run, version, alias."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from mosaic_assets.datasets.manifest import Manifest
from mosaic_assets.datasets.row_hash import in_key_order
from mosaic_assets.lineage.names import model_version_use
from mosaic_assets.models.card import CardFacts
from mosaic_assets.models.curves import Point
from mosaic_assets.models.definition import rows_definition
from mosaic_assets.models.fit import MakeEstimator, ModelData, fit_model
from mosaic_assets.models.fitted import Estimator, FittedModel
from mosaic_assets.models.gates import ValidationThreshold
from mosaic_assets.models.inputs import manifest_of, model_columns, refuse_failed_checks
from mosaic_assets.models.plots import as_markdown
from mosaic_assets.models.publish import DEFINITION_TAG, Published, earlier_settings, publish, tracked_run
from mosaic_assets.models.recipe import Recipe
from mosaic_assets.models.rival import Comparison, compare_with_rival, rival_of
from mosaic_assets.models.tuning import Settings, proposals
from mosaic_assets.work import COMPARISON, CheckOutcome, Link, Made, Markdown, Work
from mosaic_resources.bentos.encoding import Encoding
from mosaic_resources.mlflow.contract import DatasetInput, RunRequest

__all__ = ["Declaration", "EstimatorOf", "boosting_estimator", "network_estimator", "train_step"]

# Run id → what makes estimators whose curves go to that run.
EstimatorOf = Callable[[str], MakeEstimator]
KEY_FILE = "checkpoint.key"


@dataclass(frozen=True)
class Declaration:
    """A model as declared, in plain values.

    Args:
        name: Registered model.
        description: What it predicts.
        dataset: Dataset, by name.
        label: Label column.
        request: Columns that a request holds.
        service: Looked-up features.
        columns: Columns to read; none: all that a request can provide.
        exclude_columns: Columns not to read.
        num_trials: Settings to try.
        space: Setting → values.
        metric: Metric that decides between trials.
        greater_is_better: Whether more of it is better.
        seed: Decides the draws.
        thresholds: Metric → demand.
        threshold: Probability from which on the label is taken as 1.
        recipe: How a network is trained; None for another kind of model.
        arguments: Arguments of another kind of model.
        network_file: The user's network; None: the ready one.
        save_folder: Where checkpoints are kept, below the state folder; None: none are.
        promotable: Whether it may be champion or challenger.
    """

    name: str
    description: str
    dataset: str
    label: str
    request: tuple[str, ...]
    service: tuple[str, ...]
    columns: tuple[str, ...] = ()
    exclude_columns: tuple[str, ...] = ()
    num_trials: int = 1
    space: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    metric: str = "roc_auc"
    greater_is_better: bool = True
    seed: int = 17
    thresholds: Mapping[str, ValidationThreshold] = field(default_factory=dict)
    threshold: float = 0.5
    recipe: Recipe | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    network_file: Path | None = None
    save_folder: str | None = None
    promotable: bool = True

    def chosen(self, settings: Settings) -> dict[str, object]:
        """Returns all settings, with those of a trial put in."""
        if self.recipe is None:
            return {**self.arguments, **settings}
        return dict(vars(self.recipe.with_settings(settings)))


def network_estimator(work: Work, declared: Declaration) -> EstimatorOf:
    """Returns what makes networks under the declared recipe."""
    from mosaic_assets.models.checkpoints import CheckpointLedger, signing_key
    from mosaic_assets.models.network_model import NetworkModel, network_of

    assert declared.recipe is not None
    recipe, make_network, state = declared.recipe, network_of(declared.network_file), work.seams.settings.state
    version = work.seams.lake.open(f"datasets/{declared.dataset}").version()

    def ledger(settings: Settings, part: str) -> CheckpointLedger | None:
        if declared.save_folder is None:
            return None
        # A run goes on from a checkpoint only if data, code and settings are the same.
        same = json.dumps([version, work.code_version, dict(settings)], sort_keys=True, default=str)
        folder = (
            state / declared.save_folder / declared.name / f"{part}-{hashlib.sha256(same.encode()).hexdigest()[:12]}"
        )
        return CheckpointLedger(folder, signing_key(state / KEY_FILE))

    def of_run(run_id: str) -> MakeEstimator:
        def make(encoding: Encoding, settings: Settings, part: str) -> Estimator:
            def send(points: Sequence[Point]) -> None:
                work.seams.registry.log(run_id, [(f"{part}/{name}", step, value) for name, step, value in points])
                work.log.info("%s: %d batches trained", part, points[-1].step)

            def tell(said: str) -> None:
                work.log.warning("%s: %s", part, said)

            chosen = recipe.with_settings(settings)
            return NetworkModel(encoding, chosen, make_network, send, ledger(settings, part), tell)

        return make

    return of_run


def boosting_estimator(declared: Declaration) -> EstimatorOf:
    """Returns what makes scikit-learn's histogram boosting."""
    from mosaic_assets.models.reference import Boosting

    def make(encoding: Encoding, settings: Settings, part: str) -> Estimator:
        return Boosting(encoding, {**declared.arguments, **settings}, declared.seed)

    return lambda run_id: make


def train_step(work: Work, declared: Declaration, estimators: EstimatorOf, folder: Path) -> Made:
    """Fits a model to the newest version of its dataset, registers it and returns what was made.

    Settings that were chosen for the same declaration before are kept: a retraining changes the rows, not the recipe.
    Where the recipe, the columns or the code of a joined table differ from the last version's, the new one is measured
    on the validation split before it is refitted, and the champion beside it.

    Args:
        work: The step.
        declared: What is declared.
        estimators: What makes estimators.
        folder: Scratch folder for the model's files.

    Raises:
        UserError: The dataset failed a blocking check.
    """
    lake, registry, table = work.seams.lake, work.seams.registry, f"datasets/{declared.dataset}"
    version = lake.open(table).version()
    manifest = manifest_of(work.seams.settings.state / "manifests", declared.dataset, version)
    refuse_failed_checks(manifest)
    rows = in_key_order(work.read_table(table, version), manifest.entity_key)
    columns = model_columns(rows.schema, declared.request, declared.service, declared.exclude_columns, declared.columns)
    versions = registry.versions(declared.name)
    rival = rival_of(registry, declared.name, promotable=declared.promotable)
    kept, definition = earlier_settings(versions, work.code_version), rows_definition(lake, manifest, columns)
    same = kept is not None and versions[-1].tags.get(DEFINITION_TAG) == definition
    trials = [kept] if kept is not None else proposals(declared.space, declared.num_trials, declared.seed)
    with tracked_run(registry, _request(work, declared, manifest, version, rows.num_rows)) as run_id:
        data = ModelData(rows, columns, declared.label, folds_in_time=manifest.folds_in_time)
        model = fit_model(
            data,
            estimators(run_id),
            folder,
            trials=trials,
            measure=not same or not declared.promotable,
            metric=declared.metric,
            greater_is_better=declared.greater_is_better,
        )
        comparison = None
        if "validation" in model.scored:
            comparison = compare_with_rival(
                model, data.split("validation"), manifest, rival, registry=registry,
                state=work.seams.settings.state, metric=declared.metric,
            )  # fmt: skip
            registry.log(run_id, [(name, 0, value) for name, value in comparison.metrics.items()])
            work.log.info("%s: %s", declared.name, comparison.text)
        facts = CardFacts(
            declared.name, declared.description, declared.label, f"{table} version {version}", manifest.id, run_id,
            work.code_version, work.now_utc, declared.chosen(model.settings),
            comparison=comparison.text if comparison else "",
        )  # fmt: skip
        tags = {
            "dagster_run_id": work.run_id,
            "asset": work.asset,
            "dataset_version": str(version),
            DEFINITION_TAG: definition,
            **({COMPARISON: comparison.text} if comparison else {}),
        }
        published = publish(
            registry,
            model,
            facts,
            declared.thresholds,
            threshold=declared.threshold,
            tags=tags,
            promotable=declared.promotable,
            beside=comparison.scored if comparison else None,
        )
    _record(work, published, model, manifest)
    return _made(work, published, model, manifest, declared, rows, comparison)


def _request(work: Work, declared: Declaration, manifest: Manifest, version: int, num_rows: int) -> RunRequest:
    table = f"datasets/{declared.dataset}"
    used = DatasetInput(table, work.seams.lake.uri(table), version, manifest.id, num_rows)
    params = {**declared.chosen({}), "num_trials": declared.num_trials}
    tags = {
        "manifest_id": manifest.id,
        "code_version": work.code_version,
        "dagster_run_id": work.run_id,
        "asset": work.asset,
        "mlflow.note.content": declared.description,
    }
    return RunRequest(declared.name, f"{declared.name} {work.now_utc:%Y-%m-%d}", params, tags, [used])


def _batches(declared: Declaration, model: FittedModel) -> dict[str, str]:
    """Returns what the refit's batches held, in words, where a network was fitted."""
    if declared.recipe is None:
        return {}
    recipe = declared.recipe.with_settings(model.settings)
    used, said = recipe.for_rows(model.num_rows["train"] + model.num_rows["validation"])
    return {"batch_size": said or f"{used.batch_size:,}"}


def _record(work: Work, published: Published, model: FittedModel, manifest: Manifest) -> None:
    version = published.version
    use = model_version_use(
        work.seams.settings.mlflow_tracking_uri, version.name, version.version,
        run_id=version.run_id, manifest_id=manifest.id, metrics=model.metrics, asset_key=work.asset,
    )  # fmt: skip
    work.lineage.wrote(use)


def _made(
    work: Work,
    published: Published,
    model: FittedModel,
    manifest: Manifest,
    declared: Declaration,
    rows: pa.Table,
    comparison: Comparison | None,
) -> Made:
    version, verdict = published.version, published.verdict
    shown = {name: Markdown(as_markdown(png, name)) for name, png in published.plots.items()}
    metadata: dict[str, Any] = {
        "model": version.uri,
        "model_version": version.version,
        "alias": published.alias or "none",
        "mlflow_run_id": version.run_id,
        "mlflow_run": Link(work.seams.registry.run_url(version.run_id)),
        "manifest_id": manifest.id,
        "settings": dict(model.settings) or "as declared",
        "seconds": round(model.seconds, 1),
        "rows_by_split": dict(model.num_rows),
        **_batches(declared, model),
        **{
            name: value
            for name, value in model.metrics.items()
            if not name.endswith(("num_rows", "share", "probability"))
        },
        **({COMPARISON: comparison.text, **comparison.metrics} if comparison else {}),
        "model_card": Markdown(published.card),
        **shown,
    }
    passed = verdict.passed if verdict else published.alias is not None
    text = str(verdict) if verdict else "Not measured: the comparison with the champion on later labels decides."
    checks = [CheckOutcome("validation_thresholds", passed, text, blocking=True)] if declared.promotable else []
    inputs, table = model.encoding.columns, f"datasets/{declared.dataset}"
    return Made(
        version=version.version,
        num_rows=rows.num_rows,
        schema=pa.schema([*(rows.schema.field(name) for name in inputs), ("probability", pa.float64())]),
        columns={"probability": [(table, name) for name in inputs]},
        preview=rows.select([*inputs, declared.label]),
        metadata=metadata,
        checks=checks,
        address=version.uri,
    )
