"""The training flow with real Composer, real scikit-learn, real ONNX."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest

from mosaic_assets.models.batches import Matrices, arrow_columns, encode_rows, fit_encoding
from mosaic_assets.models.export import export_network, score_folder, score_network, write_identity
from mosaic_assets.models.fit import ModelData, fit_model
from mosaic_assets.models.fitted import Estimator, FittedModel
from mosaic_assets.models.network_model import NetworkModel, network_of
from mosaic_assets.models.recipe import Recipe
from mosaic_assets.models.reference import Boosting
from mosaic_assets.models.scores import scores
from mosaic_assets.models.tuning import Trial, best_trial, proposals
from mosaic_resources.bentos.encoding import Encoding
from mosaic_resources.bentos.model_folder import ModelIdentityFile
from mosaic_resources.errors import InternalError, UnknownNameError, UserError


class Spy(Estimator):
    """Remembers what it was given; says the share of label 1."""

    seen: ClassVar[list] = []

    def __init__(self, encoding: Encoding, settings: Mapping, part: str) -> None:
        self.note = {"part": part, "settings": dict(settings), "vocabulary": encoding.categorical["carrier"]}
        Spy.seen.append(self.note)

    def fit(self, training: Matrices, validation: Matrices | None = None) -> float:
        self.note |= {"num_rows": training.num_rows, "num_validation": validation.num_rows if validation else 0}
        return 1.0

    def probability(self, data: Matrices) -> np.ndarray:
        self.note.setdefault("scored", []).append(data.num_rows)
        good = self.note["settings"].get("good", 0)
        return np.where(data.label > 0, 0.5 + good, 0.5).astype(np.float32)

    def export(self, folder: Path, sample: Matrices) -> float:
        return 0.0


@pytest.fixture(autouse=True)
def forget() -> None:
    Spy.seen = []


def test_best_trial_is_refitted_with_validation_and_test_scored_once(data: ModelData, tmp_path: Path) -> None:
    fitted = fit_model(data, Spy, tmp_path, trials=[{}, {"good": 0.3}, {"good": 0.1}])
    assert [note["part"] for note in Spy.seen] == ["trial-0", "trial-1", "trial-2", "refit"]
    assert [note["num_rows"] for note in Spy.seen] == [500, 500, 500, 1000]
    assert [note["scored"] for note in Spy.seen] == [[500], [500], [500], [500]]
    assert fitted.settings == Spy.seen[-1]["settings"] == {"good": 0.3}
    assert fitted.num_rows == {"train": 500, "validation": 500, "test": 500}
    assert fitted.metrics["roc_auc"] == fitted.metrics["test_roc_auc"] == 1.0


def test_retraining_refits_at_once(data: ModelData, tmp_path: Path) -> None:
    without_test = ModelData(data.split("train", "validation"), data.columns, data.label)
    fitted = fit_model(without_test, Spy, tmp_path, trials=[{"good": 0.2}], measure=False)
    assert [note["part"] for note in Spy.seen] == ["refit"]
    assert fitted.metrics == {}
    assert fitted.settings == {"good": 0.2}


def test_vocabulary_of_a_trial_knows_the_training_split_alone(data: ModelData, tmp_path: Path) -> None:
    carriers = data.rows["carrier"].to_pylist()
    carriers[500:520] = ["NEW"] * 20
    rows = data.rows.set_column(data.rows.schema.get_field_index("carrier"), "carrier", pa.array(carriers))
    fit_model(ModelData(rows, data.columns, data.label), Spy, tmp_path)
    trial, refit = Spy.seen
    assert "NEW" not in trial["vocabulary"]
    assert "NEW" in refit["vocabulary"]


def test_trials_are_judged_on_all_folds_where_the_dataset_has_them(data: ModelData, tmp_path: Path) -> None:
    folds = pa.array([None if row >= 1000 else row % 4 for row in range(1500)], pa.int64())
    cross = ModelData(data.rows.append_column("fold", folds), data.columns, "late")
    fitted = fit_model(cross, Spy, tmp_path, trials=[{}, {"good": 0.3}])
    assert [note["part"] for note in Spy.seen[:5]] == [*(f"trial-0-fold-{fold}" for fold in range(4)), "trial-1-fold-0"]
    assert [(note["num_rows"], note["num_validation"]) for note in Spy.seen] == [(750, 250)] * 8 + [(1000, 0)]
    assert (fitted.settings, fitted.trials[1].metrics["num_rows"]) == ({"good": 0.3}, 1000)
    Spy.seen = []
    in_time = replace(cross, folds_in_time=True)
    fit_model(in_time, Spy, tmp_path)
    assert [(note["num_rows"], note["num_validation"]) for note in Spy.seen] == [
        (250, 250), (500, 250), (750, 250), (1000, 0)]  # fmt: skip


def test_trials_need_something_to_judge_on(data: ModelData, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Several trials need a validation split"):
        fit_model(ModelData(data.split("train"), data.columns, "late"), Spy, tmp_path, trials=[{}, {"good": 1}])
    with pytest.raises(UserError, match="no rows to train on"):
        fit_model(ModelData(data.split("test"), data.columns, "late"), Spy, tmp_path)


def test_network_learns_and_its_graph_equals_it(fitted: FittedModel, data: ModelData) -> None:
    assert fitted.settings == {}
    assert len(fitted.trials) == 2
    assert fitted.metrics["test_roc_auc"] > 0.75
    assert fitted.export_difference <= 1e-5
    assert fitted.fired["EMA"] > 0
    write_identity(fitted.folder, ModelIdentityFile(registered_model_name="late", version="1"))
    rows = data.split("test")
    served = score_folder(fitted.folder, arrow_columns(rows, data.columns))
    np.testing.assert_allclose(served, fitted.scored["test"][1], atol=1e-5)
    one = score_folder(fitted.folder, arrow_columns(rows.slice(3, 1), data.columns))
    np.testing.assert_allclose(one, served[3:4], atol=1e-6)


def test_model_folder_holds_no_pickle(fitted: FittedModel) -> None:
    names = {file.name for file in fitted.folder.iterdir()}
    assert {"model.onnx", "model.safetensors", "encoding.json"} <= names
    assert not [name for name in names if name.endswith((".pt", ".pkl", ".pickle", ".joblib", ".bin"))]


def test_weights_file_equals_the_network(data: ModelData, matrices: Matrices, make_network, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    network = make_network().eval()
    encoding = fit_encoding(data.split("train"), data.columns)
    export_network(network, encoding, tmp_path, matrices.numeric, matrices.categorical)
    loaded = make_network().eval()
    loaded.load_state_dict(load_file(tmp_path / "model.safetensors"))
    for name, value in network.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])


def test_export_that_differs_is_refused(data: ModelData, matrices: Matrices, make_network, tmp_path: Path) -> None:
    import torch

    class Unsteady(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = make_network()

        def forward(self, numeric: torch.Tensor, categorical: torch.Tensor) -> torch.Tensor:
            # The branch is frozen when the graph is made of two rows.
            return self.inner(numeric, categorical) + (0.0 if len(numeric) == 2 else 1.0)

    encoding = fit_encoding(data.split("train"), data.columns)
    with pytest.warns(torch.jit.TracerWarning), pytest.raises(InternalError, match="graph differs from the network by"):
        export_network(Unsteady().eval(), encoding, tmp_path, matrices.numeric, matrices.categorical)


# The user's network


def user_network(folder: Path, body: str) -> NetworkModel:
    file = folder / "network.py"
    file.write_text(
        f"import torch\n\nclass Net(torch.nn.Module):\n{body}\n\n"
        "def network(spec, **given):\n    return Net(spec, **given)\n"
    )
    encoding = Encoding(("delay", "wind"), {"carrier": ("AA", "B6", "UA")})
    return NetworkModel(
        encoding,
        Recipe(max_duration="5ep", batch_size=64, num_threads=1, optimizers={"adamw": {"lr": 0.05}}),
        network_of(file),
    )


LINEAR = """
    def __init__(self, spec):
        super().__init__()
        self.linear = torch.nn.Linear(spec.num_numeric, 1)
    def forward(self, numeric, categorical):
        return self.linear(torch.nan_to_num(numeric)).squeeze(1)
"""


def test_users_network_trains_and_exports(matrices: Matrices, tmp_path: Path) -> None:
    model = user_network(tmp_path, LINEAR)
    model.fit(matrices)
    assert scores(matrices.label, model.probability(matrices))["roc_auc"] > 0.6
    # Its graph reads no categories: the exporter leaves that input out, and the scorer gives what is asked for.
    assert model.export(tmp_path / "model", matrices) <= 1e-5


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (LINEAR.replace(".squeeze(1)", ""), re.escape("gives (2, 1) logits for 2 rows")),
        (LINEAR.replace("spec.num_numeric", "spec.nothing"), "cannot be made: AttributeError"),
    ],
)
def test_wrong_network_is_told_before_training(matrices: Matrices, tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        user_network(tmp_path, body).fit(matrices)


def test_wrong_network_arguments(matrices: Matrices) -> None:
    encoding = Encoding(("delay", "wind"), {"carrier": ("AA", "B6", "UA")})
    with pytest.raises(UserError, match=r"cannot be made: TypeError.*'depth'"):
        NetworkModel(encoding, Recipe(network={"depth": 3}, batch_size=64), network_of(None)).fit(matrices)


# The reference


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_iter": 30},
        {"max_iter": 5, "max_leaf_nodes": 2},
        {"max_iter": 3, "min_samples_leaf": 1, "max_leaf_nodes": 63},
        {"max_iter": 1, "min_samples_leaf": 400},
    ],
)
def test_boosting_graph_equals_the_classifier(data: ModelData, arguments: dict, tmp_path: Path) -> None:
    rows = data.split("train")
    # Codes 1 and 2 are seen, 3 and the unknown are not: they go where missing values go.
    encoding = Encoding(("delay", "wind"), {"carrier": ("AA", "B6", "NEVER")})
    seen = rows.filter(pa.compute.is_in(rows["carrier"], pa.array(["AA", "B6"])))
    model = Boosting(encoding, arguments, seed=0)
    model.fit(encode_rows(seen, encoding, "late"))
    everything = encode_rows(data.rows, encoding, "late")
    tricky = Matrices(
        np.vstack([everything.numeric, np.full((4, 2), np.nan, np.float32)]),
        np.vstack([everything.categorical, [[0], [1], [2], [3]]]),
        np.zeros(everything.num_rows + 4, np.float32),
    )
    assert model.export(tmp_path, tricky) <= 1e-6


def test_boosting_graph_at_the_thresholds_themselves(data: ModelData, tmp_path: Path) -> None:
    encoding = Encoding(("delay", "wind"))
    training = encode_rows(data.split("train"), encoding, "late")
    model = Boosting(encoding, {"max_iter": 20}, seed=0)
    model.fit(training)
    nodes = np.concatenate([predictor.nodes for (predictor,) in model.model._predictors])
    edges = nodes["num_threshold"][nodes["is_leaf"] == 0].astype(np.float32)
    near = np.concatenate([edges, np.nextafter(edges, np.float32(np.inf)), np.nextafter(edges, np.float32(-np.inf))])
    sample = Matrices(
        np.stack([near, near[::-1]], 1), np.zeros((len(near), 0), np.int64), np.zeros(len(near), np.float32)
    )
    assert model.export(tmp_path, sample) <= 1e-6


def test_reference_runs_through_the_same_flow(data: ModelData, tmp_path: Path) -> None:
    fitted = fit_model(
        data,
        lambda encoding, settings, part: Boosting(encoding, {"max_iter": 20, **settings}, 0),
        tmp_path,
        trials=[{}, {"max_iter": 5}],
    )
    assert len(fitted.trials) == 2
    assert fitted.metrics["test_roc_auc"] > 0.75
    assert fitted.points == ()


def test_reference_refuses_wrong_arguments(matrices: Matrices) -> None:
    encoding = Encoding(("delay", "wind"), {"carrier": ("AA", "B6", "UA")})
    with pytest.raises(UserError, match=r"does not take this: .*depth"):
        Boosting(encoding, {"depth": 3}, 0).fit(matrices)


# Trials and settings


def test_proposals_begin_with_the_declaration_and_never_repeat() -> None:
    space = {"a.b": [1, 2, 3], "c": ["x", "y"]}
    found = proposals(space, 7, seed=1)
    assert found[0] == {}
    assert len({tuple(settings.items()) for settings in found[1:]}) == 6
    assert found == proposals(space, 7, seed=1)
    assert len(proposals(space, 99, seed=1)) == 7
    assert proposals({}, 3, seed=1) == [{}]
    assert found[:3] != proposals(space, 3, seed=2)


def test_proposals_refuse() -> None:
    with pytest.raises(UserError, match="a: A setting to search has no values"):
        proposals({"a": []}, 2, 0)
    with pytest.raises(UserError, match="At least one trial"):
        proposals({}, 0, 0)


def test_best_trial() -> None:
    trials = [Trial({}, {"loss": 3.0}), Trial({"a": 1}, {"loss": 1.0}), Trial({"a": 2}, {"loss": 1.0}), Trial({"a": 3})]
    assert best_trial(trials, "loss", greater_is_better=False).settings == {"a": 1}
    assert best_trial(trials, "loss").settings == {}
    with pytest.raises(UserError, match=r"No trial has the metric 'auc'.*They have: loss"):
        best_trial(trials, "auc")


def test_settings_are_put_in_by_path() -> None:
    changed = Recipe().with_settings({"optimizers.adamw.lr": 1.0, "batch_size": 8, "network.hidden": [4]})
    assert changed.optimizers["adamw"] == {"lr": 1.0, "weight_decay": 0.01}
    assert (changed.batch_size, changed.network) == (8, {"hidden": [4]})
    assert Recipe().optimizers["adamw"]["lr"] == 0.003
    with pytest.raises(UnknownNameError, match=r"setting 'batchsize' is not declared\. Did you mean 'batch_size'"):
        Recipe().with_settings({"batchsize": 1})
    with pytest.raises(UserError, match="'x' lies below a setting that has no parts"):
        Recipe().with_settings({"batch_size.x": 1})
    with pytest.raises(UserError, match="batch_size: A batch of 0 rows is none"):
        Recipe().with_settings({"batch_size": 0})
    assert Recipe(batch_size=64).for_rows(64) == (Recipe(batch_size=64), "")
    assert Recipe(batch_size=64).for_rows(63)[0] == Recipe(batch_size=63)
    assert replace(Recipe(), seed=3).with_settings({}) == replace(Recipe(), seed=3)


def test_score_network_of_no_rows(make_network) -> None:
    assert score_network(make_network(), np.zeros((0, 2), np.float32), np.zeros((0, 1), np.int64)).shape == (0,)
