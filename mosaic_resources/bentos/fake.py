"""The shipped fake: a tiny logistic model as a real model folder, for tests and first steps."""

import json
from collections.abc import Sequence
from pathlib import Path

from mosaic_resources.bentos.encoding import Encoding
from mosaic_resources.bentos.model_folder import (
    ENCODING_FILE,
    GRAPH_FILE,
    IDENTITY_FILE,
    ModelFolder,
    read_model_folder,
)
from mosaic_resources.errors import missing_extra

__all__ = ["write_fake_model"]


def write_fake_model(
    folder: Path,
    encoding: Encoding,
    weights: Sequence[float],
    *,
    bias: float = 0.0,
    version: str = "1",
    name: str = "fake",
) -> ModelFolder:
    """Returns a model folder whose graph is ``sigmoid(bias + weights · columns)``; missing numbers count as 0.

    Args:
        folder: Where to write it.
        encoding: The columns that it reads.
        weights: One for each numeric column, then one for the code of each categorical column.
        bias: Added to the sum; NaN makes a model that never answers.
        version: Version of the model.
        name: Registered name of the model.

    Raises:
        DependencyError: ``onnx`` is not installed.
    """
    try:
        import onnx
        from onnx import TensorProto, helper
    except ImportError as exc:
        raise missing_extra("onnx", "train") from exc
    sides = [
        ("numeric", TensorProto.FLOAT, len(encoding.numeric)),
        ("categorical", TensorProto.INT64, len(encoding.categorical)),
    ]
    inputs = [helper.make_tensor_value_info(side, kind, ["rows", width]) for side, kind, width in sides]
    nodes = [
        helper.make_node("IsNaN", ["numeric"], ["absent"]),
        helper.make_node("Where", ["absent", "zero", "numeric"], ["numbers"]),
        helper.make_node("Cast", ["categorical"], ["codes"], to=TensorProto.FLOAT),
        helper.make_node("Concat", ["numbers", "codes"], ["columns"], axis=1),
        helper.make_node("MatMul", ["columns", "weights"], ["products"]),
        helper.make_node("Add", ["products", "bias"], ["sums"]),
        helper.make_node("Sigmoid", ["sums"], ["column"]),
        helper.make_node("Squeeze", ["column", "axis"], ["probability"]),
    ]
    constants = [
        helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
        helper.make_tensor("weights", TensorProto.FLOAT, [len(weights), 1], list(weights)),
        helper.make_tensor("bias", TensorProto.FLOAT, [], [bias]),
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
    ]
    output = helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["rows"])
    graph = helper.make_graph(nodes, "fake", inputs, [output], constants)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / GRAPH_FILE)
    (folder / ENCODING_FILE).write_text(encoding.to_json())
    identity = {"registered_model_name": name, "version": version, "run_id": f"run-{version}", "manifest_id": "fake"}
    (folder / IDENTITY_FILE).write_text(json.dumps(identity))
    return read_model_folder(folder)
