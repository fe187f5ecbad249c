"""Model folder, scoring and the on-demand file."""

from pathlib import Path

import numpy as np
import pytest

from mosaic_resources.bentos.encoding import Encoding
from mosaic_resources.bentos.fake import write_fake_model
from mosaic_resources.bentos.model_folder import read_model_folder
from mosaic_resources.bentos.on_demand import OnDemandError, checked_features, file_sha256, load_on_demand
from mosaic_resources.bentos.scoring import Scorer, ScoringError
from mosaic_resources.errors import UserError

ENCODING = Encoding(("x",), {"c": ("a", "b")})
COLUMNS = {"x": np.array([1.0, np.nan]), "c": np.array(["b", None], object)}


def test_scores_are_those_of_the_graph(tmp_path: Path) -> None:
    scorer = Scorer(write_fake_model(tmp_path, ENCODING, (1.0, 0.5)))
    np.testing.assert_allclose(scorer.score(COLUMNS), [1 / (1 + np.exp(-2)), 0.5], rtol=1e-6)


def test_answer_that_is_not_finite_is_an_error(tmp_path: Path) -> None:
    scorer = Scorer(write_fake_model(tmp_path, ENCODING, (1.0, 0.5), bias=float("nan")))
    with pytest.raises(ScoringError, match="not one finite number"):
        scorer.score(COLUMNS)


def test_graph_that_fails_is_an_error(tmp_path: Path) -> None:
    write_fake_model(tmp_path, ENCODING, (1.0, 0.5))
    (tmp_path / "encoding.json").write_text(Encoding(("x", "y"), {"c": ("a",)}).to_json())  # One column too many.
    with pytest.raises(ScoringError, match="The model failed"):
        Scorer(read_model_folder(tmp_path)).score({**COLUMNS, "y": COLUMNS["x"]})


@pytest.mark.parametrize("name", ["model.onnx", "encoding.json", "model.json"])
def test_missing_or_damaged_file_is_refused(tmp_path: Path, name: str) -> None:
    folder = write_fake_model(tmp_path, ENCODING, (1.0, 0.5))
    (tmp_path / name).write_text("{")
    with pytest.raises(UserError, match=r"is damaged|cannot be loaded"):
        Scorer(read_model_folder(tmp_path))
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=f"has no '{name}'"):
        read_model_folder(folder.path)


def test_foreign_graph_is_refused(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    folder = write_fake_model(tmp_path, ENCODING, (1.0, 0.5))
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("a", "b")]
    graph = helper.make_graph([helper.make_node("Neg", ["a"], ["b"])], "g", sides[:1], sides[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder.graph)
    with pytest.raises(UserError, match="Inputs: numeric, categorical"):
        Scorer(folder)


def file(folder: Path, text: str) -> Path:
    path = folder / "f.py"
    path.write_text(text)
    return path


def test_on_demand_function_is_loaded_by_hash(tmp_path: Path) -> None:
    path = file(tmp_path, "def features(inputs):\n    return {'y': inputs['x'] * 2}\n")
    function = load_on_demand(path, file_sha256(path))
    assert checked_features(function, COLUMNS, ["y"], 2)["y"][0] == 2.0
    with pytest.raises(UserError, match="not the one that the service was built with"):
        load_on_demand(path, "0" * 64)


@pytest.mark.parametrize(
    ("text", "message"), [("x = 1", "has no function 'features'"), ("1 / 0", "cannot be loaded: ZeroDivisionError")]
)
def test_on_demand_file_without_the_function_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_on_demand(file(tmp_path, text))
    with pytest.raises(UserError, match="is missing"):
        load_on_demand(tmp_path / "none.py")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "returned no 'y'"),
        ("{'y': [1, 2, 3]}", r"has shape \(3,\), not \(2,\)"),
        ("1 / 0", "failed: ZeroDivisionError"),
    ],
)
def test_on_demand_answer_that_does_not_fit_is_refused(tmp_path: Path, text: str, message: str) -> None:
    function = load_on_demand(file(tmp_path, f"def features(inputs):\n    return {text}\n"))
    with pytest.raises(OnDemandError, match=message):
        checked_features(function, COLUMNS, ["y"], 2)
