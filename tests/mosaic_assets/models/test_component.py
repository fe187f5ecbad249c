"""The components from their own YAML, materialized for real: Delta, Composer, scikit-learn, MLflow on SQLite."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from dagster.components.core.component_tree import ComponentTreeException
from dagster.components.testing import create_defs_folder_sandbox

from mosaic_assets.datasets.fake import fake_manifest
from mosaic_assets.datasets.manifest import Manifest
from mosaic_assets.models.apply import apply_model
from mosaic_assets.models.scores import scores
from mosaic_assets.models.versions import find_version, version_folder
from mosaic_resources.bentos.model_folder import read_model_folder
from mosaic_resources.delta.commit import Commit
from mosaic_resources.errors import UserError
from mosaic_resources.seams import Seams
from mosaic_resources.settings.clock import set_simulated_clock
from mosaic_resources.settings.settings import load_settings

CUTOFF = datetime(2013, 7, 1, tzinfo=UTC)
DEFS = """
type: mosaic_assets.features.EntityComponent
attributes: {name: aircraft, join_keys: [tailnum]}
---
type: mosaic_assets.features.FeatureViewComponent
attributes:
  name: aircraft
  entities: [aircraft]
  sql: aircraft.sql
  created_timestamp_column: known_ts
  schema: {delay: float64, wind: float64}
---
type: mosaic_assets.features.FeatureServiceComponent
attributes: {name: delays, features: ["aircraft:*"]}
---
type: mosaic_assets.datasets.DatasetComponent
attributes:
  name: delays
  sql: rows.sql
  feature_service: delays
  entity_key: [id]
  timestamp_field: asked_at
  label: late
  label_known_field: asked_at
  request: {tailnum: string, carrier: string}
---
type: mosaic_assets.models.ModelComponent
attributes:
  name: late
  description: Whether a flight is late.
  dataset: delays
  exclude_columns: [tailnum]
  network: {hidden: [8, 4], num_bins: 4, num_members: 2}
  max_duration: 2ep
  batch_size: 64
  optimizers: {adamw: {lr: 0.01}}
  schedulers: {cosine_annealing: {}}
  algorithms: {gradient_clipping: {clipping_type: norm, clipping_threshold: 1.0}}
  callbacks: {lr_monitor: {}}
  seed: 3
  num_threads: 1
  save_folder: checkpoints
  save_interval: 1ep
  autoresume: true
  tuning: {num_trials: 2, metric: roc_auc, greater_is_better: true, space: {optimizers.adamw.lr: [0.02]}}
  validation_thresholds:
    roc_auc: {threshold: THRESHOLD, greater_is_better: true}
    log_loss: {threshold: 0.9, greater_is_better: false}
  threshold: 0.4
---
type: mosaic_assets.models.ReferenceModelComponent
attributes:
  name: late_reference
  reference_of: late
  arguments: {max_iter: 10}
  space: {max_iter: [5, 20]}
"""


def definitions_of(defs: str) -> Iterator[dg.Definitions]:
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.defs_folder_path / "story"
        folder.mkdir(parents=True)
        (folder / "defs.yaml").write_text(defs)
        for name in ("aircraft.sql", "rows.sql"):
            (folder / name).write_text("select * from tables.events")
        with sandbox.build_all_defs() as built:
            yield built


@pytest.fixture(scope="module")
def definitions() -> Iterator[dg.Definitions]:
    yield from definitions_of(DEFS.replace("THRESHOLD", "0.7"))


@pytest.fixture(scope="module")
def seams(tmp_path_factory: pytest.TempPathFactory) -> Seams:
    root = tmp_path_factory.mktemp("project")
    (root / "pyproject.toml").write_text("[tool.dg]\n")
    seams = Seams(load_settings(root, environ={}))
    set_simulated_clock(seams.settings.state, CUTOFF)
    return seams


def land(seams: Seams, rows: pa.Table, month: int = 6) -> Manifest:
    """Lands a dataset whose validation split is a month of 2013."""
    version = seams.lake.write("datasets/delays", rows, Commit("test"))
    begins, ends = f"2013-{month:02}-01T00:00:00+00:00", f"2013-{month + 1:02}-01T00:00:00+00:00"
    manifest = fake_manifest(
        "delays", query=str(version), cutoff_utc=CUTOFF.isoformat(), table_version=version, entity_key=("flight_id",),
        split=(begins, ends, ends),
    )  # fmt: skip
    manifest.save(seams.settings.state / "manifests")
    return manifest


def dataset_rows(data: Any) -> pa.Table:
    rows = data.split("train", "validation")
    names = {"delay": "aircraft__delay", "wind": "aircraft__wind"}
    table = rows.rename_columns([names.get(name, name) for name in rows.column_names])
    table = table.append_column("tailnum", pa.array(["N1"] * len(table)))
    table = table.append_column("flight_id", pa.array(range(len(table)), pa.int64()))
    return table.select(["flight_id", "tailnum", "carrier", "late", "aircraft__delay", "aircraft__wind", "split"])


def with_gust(rows: pa.Table) -> pa.Table:
    """Adds a column, as an on-demand function does, that holds the label of every other row."""
    gust = [float(late) if number % 2 else 0.5 for number, late in enumerate(rows["late"].to_pylist())]
    return rows.add_column(rows.num_columns - 1, "gust", pa.array(gust))


def materialize(
    definitions: dg.Definitions, seams: Seams, key: str
) -> tuple[dict[str, Any], dg.ExecuteInProcessResult]:
    assets = [asset for asset in definitions.assets or [] if isinstance(asset, dg.AssetsDefinition)]
    result = dg.materialize(assets, selection=[key], resources={"mosaic": SimpleNamespace(seams=seams)})
    (event,) = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}, result


def test_model_is_trained_promoted_and_challenged(definitions: dg.Definitions, seams: Seams, data: Any) -> None:
    manifest = land(seams, dataset_rows(data))
    made, result = materialize(definitions, seams, "models/late")
    assert (made["model_version"], made["alias"], made["manifest_id"]) == ("1", "champion", manifest.id)
    assert made["roc_auc"] > 0.7
    assert made["batch_size"] == "64"
    assert made["comparison"] == f"roc_auc {made['roc_auc']:.4f} on 500 validation rows; it is the first version"
    assert "data:image/png;base64" in made["roc"]
    (check,) = result.get_asset_check_evaluations()
    assert check.passed
    champion = find_version(seams.registry, "late", "champion")
    model = read_model_folder(version_folder(seams.registry, seams.settings.state, champion))
    assert model.columns == ["aircraft__delay", "aircraft__wind", "carrier"]
    assert model.identity.threshold == 0.4
    assert champion.tags["manifest_id"] == manifest.id
    run = seams.registry.client.get_run(champion.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["delta_version.datasets/delays"] == str(manifest.table_version)
    assert run.inputs.dataset_inputs[0].dataset.digest == manifest.id
    assert run.data.metrics["roc_auc"] == pytest.approx(made["roc_auc"])
    curve = seams.registry.client.get_metric_history(champion.run_id, "trial-0/metrics/validation/roc_auc")
    assert len(curve) == 2

    # New rows, the same declaration: the settings stay, nothing is tried, the version is a challenger.
    land(seams, pa.concat_tables([dataset_rows(data)] * 2))
    again, result = materialize(definitions, seams, "models/late")
    assert (again["model_version"], again["alias"]) == ("2", "challenger")
    assert again["settings"] == made["settings"]
    assert {"roc_auc", "comparison"} & again.keys() == set()
    (check,) = result.get_asset_check_evaluations()
    assert check.passed
    assert find_version(seams.registry, "late", "champion").version == "1"

    # A column more, the same declaration: the settings stay, but the version is measured, the champion beside it.
    wider = with_gust(dataset_rows(data))
    land(seams, wider, month=7)
    third, _ = materialize(definitions, seams, "models/late")
    assert (third["model_version"], third["alias"], third["settings"]) == ("3", "challenger", made["settings"])
    held_out = wider.filter(pc.equal(wider["split"], "validation"))
    rival = scores(held_out["late"].to_numpy(), apply_model(model, held_out))["roc_auc"]
    assert third["rival_validation_roc_auc"] == rival
    assert third["roc_auc"] > rival + 0.03  # gust tells half of the labels
    fits = "champion version 1, fitted until 2013-07-01 → this one, until 2013-07-01"
    line = f"roc_auc {rival:.4f} → {third['roc_auc']:.4f} on the same 500 validation rows ({fits})"
    assert third["comparison"] == line
    version = find_version(seams.registry, "late", "3")
    assert version.tags["comparison"] == line
    figures = seams.registry.client.get_run(version.run_id).data.metrics
    assert (figures["rival_validation_roc_auc"], figures["roc_auc"]) == (rival, third["roc_auc"])
    assert line in third["model_card"]
    assert {"roc", "calibration", "loss"} <= third.keys()

    # Validation rows that the champion has learnt from would flatter it: it is not scored on them.
    land(seams, dataset_rows(data), month=6)
    fourth, _ = materialize(definitions, seams, "models/late")
    assert fourth["comparison"].endswith("champion version 1 is not compared: it has learnt from rows until 2013-07-01")
    assert "rival_validation_roc_auc" not in fourth


def test_model_refuses_a_dataset_that_failed_a_blocking_check(
    definitions: dg.Definitions, seams: Seams, data: Any
) -> None:
    leaky = replace(land(seams, dataset_rows(data)), query="leaky", failed_checks=("'delay' alone predicts 'late'.",))
    version = seams.lake.write("datasets/delays", dataset_rows(data), Commit("test"))
    replace(leaky, table_version=version).save(seams.settings.state / "manifests")
    for key in ("models/late", "models/late_reference"):
        with pytest.raises(UserError, match=r"failed its blocking checks: 'delay' alone predicts 'late'\. Mend it"):
            materialize(definitions, seams, key)


def test_reference_is_registered_without_an_alias(definitions: dg.Definitions, seams: Seams, data: Any) -> None:
    land(seams, dataset_rows(data))
    made, result = materialize(definitions, seams, "models/late_reference")
    assert (made["model"], made["alias"]) == ("models:/late_reference/1", "none")
    assert made["roc_auc"] > 0.7
    assert not result.get_asset_check_evaluations()
    version = find_version(seams.registry, "late_reference", "1")
    model = read_model_folder(version_folder(seams.registry, seams.settings.state, version))
    assert model.columns == ["aircraft__delay", "aircraft__wind", "carrier"]


def test_model_below_its_threshold_gets_no_alias(seams: Seams, data: Any) -> None:
    land(seams, dataset_rows(data))
    for definitions in definitions_of(
        DEFS.replace("THRESHOLD", "0.999")
        .replace("name: late\n", "name: strict\n")
        .split("---\ntype: mosaic_assets.models.Ref")[0]
    ):
        made, result = materialize(definitions, seams, "models/strict")
        assert made["alias"] == "none"
        (check,) = result.get_asset_check_evaluations()
        assert not check.passed
        assert check.severity == dg.AssetCheckSeverity.ERROR
    assert seams.registry.find("strict", "champion") is None


def test_fewer_rows_than_a_batch_are_one_batch_and_it_is_said(
    seams: Seams, data: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = dataset_rows(data)
    few = pa.concat_tables(
        [rows.filter(pc.equal(rows["split"], name)).slice(0, 150) for name in ("train", "validation")]
    )
    land(seams, few)
    small = DEFS.replace("THRESHOLD", "0.1").replace("name: late\n", "name: small\n").replace("  batch_size: 64\n", "")
    for definitions in definitions_of(small.split("---\ntype: mosaic_assets.models.Ref")[0]):
        made, _ = materialize(definitions, seams, "models/small")
        assert made["batch_size"] == "batch_size is 300 instead of 1,024: there are no more rows to train on"
    told = capfd.readouterr().err
    for fit, size in (("trial-0", 150), ("refit", 300)):
        assert f"{fit}: batch_size is {size} instead of 1,024" in told


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "dataset: delays\n  exclude",
            "dataset: delay\n  exclude",
            "DatasetComponent 'delay' is not declared. Did you mean 'delays'",
        ),
        ("reference_of: late", "reference_of: lat", "ModelComponent 'lat' is not declared. Did you mean 'late'"),
        (
            "space: {optimizers.adamw.lr",
            "space: {optimizer.adamw.lr",
            r"defs\.yaml:\d+, optimizer\.adamw\.lr: setting 'optimizer' is not declared",
        ),
        (
            "space: {optimizers.adamw.lr: [0.02]",
            "space: {batch_size: [0]",
            r"defs\.yaml:\d+, .*A batch of 0 rows is none",
        ),
        ("optimizers: {adamw: {lr: 0.01}}", "optimizers: {}", r"defs\.yaml:\d+, .*has one optimizer, not 0"),
        ("threshold: 0.7,", "min_absolute_change: 0.7,", "log_loss"),
        (
            "dataset: delays\n  exclude",
            "dataset: delays\n  network_file: none.py\n  exclude",
            "none.py' cannot be read",
        ),
        ("name: late_reference", "name: late", "declared|name of its own|conflict"),
    ],
)
def test_wrong_declarations_are_told_at_load(old: str, new: str, message: str) -> None:
    defs = DEFS.replace("THRESHOLD", "0.7")
    assert old in defs
    defs = defs.replace(old, new)
    if message == "log_loss":
        defs, message = (
            defs.replace("    log_loss: {threshold: 0.9, greater_is_better: false}\n", ""),
            "no first version could ever pass",
        )
    with pytest.raises(ComponentTreeException) as caught:
        next(definitions_of(defs))
    # Dagster shows where in the tree; ours, with file and line, is its cause.
    causes, error = [], caught.value
    while error is not None:
        causes.append(str(error))
        error = error.__cause__
    assert re.search(message, "\n".join(causes))
