"""scikit-learn's histogram boosting as an ONNX graph, so that the reference travels without a pickle."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["write_boosting_graph"]

OPSET, ML_OPSET, IR_VERSION = 17, 5, 9
# Modes of ONNX's TreeEnsemble: value <= split; value is a member of a set.
LESS_OR_EQUAL, MEMBER = 0, 6


@dataclass
class Forest:
    """Nodes and leaves of all trees, as ``ai.onnx.ml.TreeEnsemble`` (version 5) takes them."""

    roots: list[int] = field(default_factory=list)
    features: list[int] = field(default_factory=list)
    modes: list[int] = field(default_factory=list)
    splits: list[float] = field(default_factory=list)
    true_ids: list[int] = field(default_factory=list)
    true_leafs: list[int] = field(default_factory=list)
    false_ids: list[int] = field(default_factory=list)
    false_leafs: list[int] = field(default_factory=list)
    missing_true: list[int] = field(default_factory=list)
    members: list[float] = field(default_factory=list)
    leaves: list[float] = field(default_factory=list)
    constant: float = 0.0


def write_boosting_graph(model: Any, file: Path, num_numeric: int, categorical: list[bool]) -> None:
    """Writes a fitted ``HistGradientBoostingClassifier`` as a graph of the agreed form.

    The classifier was fitted on (rows, num_categorical + num_numeric) values: codes first, then numbers.

    Args:
        model: The fitted classifier of two classes.
        file: Where to write.
        num_numeric: Numeric columns.
        categorical: For each column of codes, whether the classifier treats it as categories.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    forest = _forest(model, categorical)
    tensor = numpy_helper.from_array
    ensemble = helper.make_node(
        "TreeEnsemble", ["rows"], ["raw"], domain="ai.onnx.ml", n_targets=1, aggregate_function=1, post_transform=0,
        tree_roots=forest.roots, nodes_featureids=forest.features, nodes_modes=tensor(np.array(forest.modes, np.uint8)),
        nodes_splits=tensor(np.array(forest.splits, np.float32)), nodes_missing_value_tracks_true=forest.missing_true,
        nodes_truenodeids=forest.true_ids, nodes_trueleafs=forest.true_leafs,
        nodes_falsenodeids=forest.false_ids, nodes_falseleafs=forest.false_leafs,
        leaf_targetids=[0] * len(forest.leaves), leaf_weights=tensor(np.array(forest.leaves, np.float32)),
        **({"membership_values": tensor(np.array(forest.members, np.float32))} if forest.members else {}),
    )  # fmt: skip
    inputs = [helper.make_tensor_value_info("numeric", TensorProto.FLOAT, ["rows", num_numeric])]
    nodes = []
    if categorical:
        inputs.append(helper.make_tensor_value_info("categorical", TensorProto.INT64, ["rows", len(categorical)]))
        nodes.append(helper.make_node("Cast", ["categorical"], ["codes"], to=TensorProto.FLOAT))
    nodes += [
        helper.make_node("Concat", [*(["codes"] if categorical else []), "numeric"], ["rows"], axis=1),
        ensemble,
        helper.make_node("Add", ["raw", "constant"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["column"]),
        helper.make_node("Reshape", ["column", "flat"], ["probability"]),
    ]
    constants = [tensor(np.array([forest.constant], np.float32), "constant"), tensor(np.array([-1], np.int64), "flat")]
    output = helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["rows"])
    graph = helper.make_graph(nodes, "boosting", inputs, [output], constants)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION), str(file))


def _forest(model: Any, categorical: list[bool]) -> Forest:
    forest = Forest(constant=float(model._baseline_prediction[0, 0]))
    # The classifier itself puts the columns that are categories first, and numbers their values anew.
    order = np.argsort(~np.asarray(model.is_categorical_, bool), kind="stable") if any(categorical) else None
    known = model._preprocessor.named_transformers_["encoder"].categories_ if any(categorical) else []
    for (predictor,) in model._predictors:
        _add_tree(forest, predictor, order, known)
    if not forest.roots:
        _add_stump(forest)
    return forest


def _add_stump(forest: Forest) -> None:
    """Adds one split between two leaves of 0: a graph must have a tree, even where the classifier found no split."""
    forest.roots, forest.features, forest.modes, forest.splits, forest.missing_true = (
        [0],
        [0],
        [LESS_OR_EQUAL],
        [0.0],
        [0],
    )
    forest.true_ids, forest.true_leafs, forest.false_ids, forest.false_leafs = [0], [1], [1], [1]
    forest.leaves = [0.0, 0.0]


def _add_tree(
    forest: Forest, predictor: Any, order: npt.NDArray[np.int64] | None, known: list[npt.NDArray[Any]]
) -> None:
    nodes = predictor.nodes
    if nodes[0]["is_leaf"]:
        forest.constant += float(nodes[0]["value"])
        return
    inner = {index: len(forest.features) + place for place, index in enumerate(np.flatnonzero(nodes["is_leaf"] == 0))}
    leaf = {index: len(forest.leaves) + place for place, index in enumerate(np.flatnonzero(nodes["is_leaf"]))}
    forest.leaves += nodes["value"][nodes["is_leaf"] == 1].tolist()
    forest.roots.append(inner[0])
    for index in inner:
        node = nodes[index]
        column = int(node["feature_idx"])
        forest.features.append(column if order is None else int(order[column]))
        forest.missing_true.append(int(node["missing_go_to_left"]))
        for child, ids, leafs in (
            (node["left"], forest.true_ids, forest.true_leafs),
            (node["right"], forest.false_ids, forest.false_leafs),
        ):
            ids.append(leaf[child] if nodes[child]["is_leaf"] else inner[child])
            leafs.append(int(nodes[child]["is_leaf"]))
        if node["is_categorical"]:
            forest.modes.append(MEMBER)
            forest.splits.append(0.0)
            # Sets follow each other, each ended by NaN.
            forest.members += [
                *_left_codes(predictor.raw_left_cat_bitsets[node["bitset_idx"]], known[column], node),
                float("nan"),
            ]
        else:
            forest.modes.append(LESS_OR_EQUAL)
            forest.splits.append(_float_below(float(node["num_threshold"])))


def _left_codes(bitset: npt.NDArray[np.uint32], known: npt.NDArray[Any], node: Any) -> list[float]:
    inside = [float(code) for place, code in enumerate(known) if int(bitset[place // 32]) >> (place % 32) & 1]
    # A code that the classifier never saw goes the way of missing values.
    unseen = (
        [float(code) for code in range(256) if code not in set(known.tolist())] if node["missing_go_to_left"] else []
    )
    return inside + unseen


def _float_below(threshold: float) -> float:
    """Returns the largest float32 that is not above: for float32 values, ``x <= threshold`` stays the same."""
    rounded = np.float32(threshold)
    return float(rounded if rounded <= threshold else np.nextafter(rounded, np.float32(-np.inf)))
