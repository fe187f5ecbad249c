"""The folder that a model travels in: ONNX graph, weights, encoding, identity. No pickle."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mosaic_resources.bentos.encoding import Encoding
from mosaic_resources.errors import UserError

__all__ = [
    "ENCODING_FILE",
    "GRAPH_FILE",
    "IDENTITY_FILE",
    "MODEL_FILES",
    "WEIGHTS_FILE",
    "ModelFolder",
    "ModelIdentityFile",
    "read_model_folder",
]

GRAPH_FILE = "model.onnx"
WEIGHTS_FILE = "model.safetensors"
ENCODING_FILE = "encoding.json"
IDENTITY_FILE = "model.json"
MODEL_FILES = (GRAPH_FILE, WEIGHTS_FILE, ENCODING_FILE, IDENTITY_FILE)


class ModelIdentityFile(BaseModel):
    """``model.json``: which model this is, and how it is read.

    Args:
        registered_model_name: Name in the registry.
        version: Version in the registry.
        run_id: MLflow run that made it.
        manifest_id: Dataset that it was fitted on.
        threshold: Probability from which on the label is 1.
        metrics: What it reached.
    """

    model_config = ConfigDict(frozen=True, extra="allow", coerce_numbers_to_str=True)

    registered_model_name: str
    version: str
    run_id: str = ""
    manifest_id: str = ""
    threshold: float = Field(0.5, ge=0, le=1)
    metrics: dict[str, float | None] = {}


@dataclass(frozen=True)
class ModelFolder:
    """A model folder whose files have been read, but not the graph."""

    path: Path
    identity: ModelIdentityFile
    encoding: Encoding

    @property
    def graph(self) -> Path:
        """The ONNX file."""
        return self.path / GRAPH_FILE

    @property
    def columns(self) -> list[str]:
        """The columns that the encoding reads."""
        return [*self.encoding.numeric, *self.encoding.categorical]


def read_model_folder(path: Path) -> ModelFolder:
    """Returns the model in a folder.

    Raises:
        UserError: A file is missing or unreadable.
    """
    for name in (GRAPH_FILE, ENCODING_FILE, IDENTITY_FILE):
        if not (path / name).is_file():
            raise UserError(f"The model folder has no '{name}'.", str(path), "Train the model again.")
    try:
        identity = ModelIdentityFile.model_validate_json((path / IDENTITY_FILE).read_bytes())
        encoding = Encoding.from_json((path / ENCODING_FILE).read_text())
    except (ValidationError, ValueError, UserError) as exc:
        raise UserError(f"The model folder is damaged: {exc}", str(path), "Train the model again.") from exc
    return ModelFolder(path, identity, encoding)
