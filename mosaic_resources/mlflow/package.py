"""A model folder as MLflow wants it: the same files, beside an MLmodel with signature and example."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mosaic_resources.bentos.encoding import Encoding
from mosaic_resources.bentos.model_folder import GRAPH_FILE, ModelFolder

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

__all__ = ["package"]

REQUIREMENTS = ("onnxruntime", "numpy")
EXAMPLE_ROWS = 2


def package(model: ModelFolder, target: Path, run_id: str, model_id: str) -> None:
    """Writes the folder that is uploaded.

    MLflow's ``onnx`` flavor without its ``log_model``: that infers the requirements by loading the model in a new
    process and rewrites the graph, which takes seconds. Nothing in the folder is pickled.

    Args:
        model: The model folder.
        target: Folder to make.
        run_id: Run that made the model.
        model_id: The logged model that it becomes.
    """
    import onnx
    from mlflow import onnx as flavor
    from mlflow.models import Model

    described = Model(run_id=run_id, model_id=model_id)
    flavor.save_model(
        onnx.load(model.graph),
        str(target),
        mlflow_model=described,
        signature=_signature(model.encoding),
        input_example=_example(model.encoding),
        pip_requirements=list(REQUIREMENTS),
        onnx_execution_providers=["CPUExecutionProvider"],
        save_as_external_data=False,
    )
    for file in model.path.iterdir():
        if file.is_file() and file.name != GRAPH_FILE:
            shutil.copy2(file, target / file.name)


def _signature(encoding: Encoding) -> "ModelSignature":
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    example = _example(encoding)
    inputs = [TensorSpec(values.dtype, (-1, values.shape[1]), name) for name, values in example.items()]
    return ModelSignature(Schema([*inputs]), Schema([TensorSpec(np.dtype(np.float32), (-1,), "probability")]))


def _example(encoding: Encoding) -> dict[str, npt.NDArray[Any]]:
    matrices: dict[str, npt.NDArray[Any]] = {
        "numeric": np.zeros((EXAMPLE_ROWS, len(encoding.numeric)), np.float32),
        "categorical": np.zeros((EXAMPLE_ROWS, len(encoding.categorical)), np.int64),
    }
    return {name: values for name, values in matrices.items() if values.shape[1]}
