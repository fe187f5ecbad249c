"""From a fitted network to the folder that it travels in: ONNX, safetensors, JSON."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mosaic_resources.bentos.encoding import Encoding
from mosaic_resources.bentos.model_folder import (
    ENCODING_FILE,
    GRAPH_FILE,
    IDENTITY_FILE,
    WEIGHTS_FILE,
    ModelIdentityFile,
    read_model_folder,
)
from mosaic_resources.bentos.scoring import Scorer
from mosaic_resources.errors import InternalError

__all__ = [
    "LARGEST_DIFFERENCE",
    "UNREGISTERED",
    "export_network",
    "run_graph",
    "score_folder",
    "score_network",
    "write_identity",
]

OPSET = 17
LARGEST_DIFFERENCE = 1e-5
SCORE_ROWS = 16_384
UNREGISTERED = "unregistered"


def export_network(
    module: object,
    encoding: Encoding,
    folder: Path,
    numeric: npt.NDArray[np.float32],
    categorical: npt.NDArray[np.int64],
) -> float:
    """Writes graph, weights and encoding, and returns how far the graph lies from the network.

    Args:
        module: The fitted network.
        encoding: What makes its matrices.
        folder: Where to write; made if need be.
        numeric: (rows, num_numeric) sample that the two are compared on.
        categorical: (rows, num_categorical) of the same rows.

    Raises:
        InternalError: Graph and network differ by more than 1e-5 on the sample.
    """
    import torch
    from safetensors.torch import save_file

    assert isinstance(module, torch.nn.Module)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, folder / WEIGHTS_FILE)
    (folder / ENCODING_FILE).write_text(encoding.to_json())
    _export_graph(module, folder / GRAPH_FILE, numeric[:2], categorical[:2])
    ours = score_network(module, numeric, categorical)
    theirs = run_graph(folder / GRAPH_FILE, numeric, categorical)
    difference = float(np.abs(ours - theirs).max(initial=0.0))
    if not difference <= LARGEST_DIFFERENCE:
        raise InternalError(
            f"The exported graph differs from the network by {difference:.2g}.", str(folder / GRAPH_FILE)
        )
    return difference


def score_network(
    module: object, numeric: npt.NDArray[np.float32], categorical: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Returns the (rows,) probabilities of a network."""
    import torch

    assert isinstance(module, torch.nn.Module)
    module.eval()
    with torch.inference_mode():
        parts = [slice(start, start + SCORE_ROWS) for start in range(0, len(numeric), SCORE_ROWS)]
        found = [
            torch.sigmoid(module(torch.from_numpy(numeric[at]), torch.from_numpy(categorical[at]))) for at in parts
        ]
    return torch.cat(found).numpy().astype(np.float32) if found else np.empty(0, np.float32)


def score_folder(
    folder: Path, columns: Mapping[str, npt.NDArray[np.generic]], num_threads: int = 2
) -> npt.NDArray[np.float32]:
    """Returns the (rows,) probabilities of the model in a folder, as the endpoint would give them."""
    return Scorer(read_model_folder(folder), num_threads).score(columns)


def write_identity(folder: Path, identity: ModelIdentityFile) -> None:
    """Writes which model this is; a version that is not registered yet is ``UNREGISTERED``."""
    draft = folder / f"{IDENTITY_FILE}.draft"
    draft.write_text(json.dumps(identity.model_dump(), indent=1, sort_keys=True))
    draft.replace(folder / IDENTITY_FILE)


def _export_graph(
    module: object, file: Path, numeric: npt.NDArray[np.float32], categorical: npt.NDArray[np.int64]
) -> None:
    import torch

    class Probability(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, numeric: torch.Tensor, categorical: torch.Tensor) -> torch.Tensor:
            return torch.sigmoid(self.inner(numeric, categorical))

    names = ["numeric", "categorical"]
    rows = {name: {0: "rows"} for name in (*names, "probability")}
    with warnings.catch_warnings():
        # The newer exporter takes 4 s instead of 0.2 s for the same graph, and says so in a warning.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            Probability(module).eval(),  # type: ignore[arg-type]
            (torch.from_numpy(numeric), torch.from_numpy(categorical)),
            str(file),
            input_names=names,
            output_names=["probability"],
            dynamic_axes=rows,
            opset_version=OPSET,
            dynamo=False,
        )


def run_graph(
    file: Path, numeric: npt.NDArray[np.float32], categorical: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Returns the (rows,) probabilities of an exported graph, given matrices."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    wanted = {item.name for item in session.get_inputs()}
    given = {"numeric": numeric, "categorical": categorical}
    (probability,) = session.run(["probability"], {name: values for name, values in given.items() if name in wanted})
    return np.asarray(probability, np.float32)
