"""A downloaded model folder says which version it is."""

import json
from pathlib import Path

from mosaic_resources.bentos.model_folder import IDENTITY_FILE
from mosaic_resources.mlflow.contract import ModelVersion

__all__ = ["holds_version", "name_version"]


def name_version(folder: Path, model: ModelVersion) -> None:
    """Writes name, version and run into the folder's ``model.json``: the registry counts versions, not the folder."""
    file = folder / IDENTITY_FILE
    identity = {
        **json.loads(file.read_text()),
        "registered_model_name": model.name,
        "version": model.version,
        "run_id": model.run_id,
    }
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps(identity, indent=1, sort_keys=True))
    draft.replace(file)


def holds_version(folder: Path, model: ModelVersion) -> bool:
    """Returns whether a folder holds exactly this version."""
    try:
        identity = json.loads((folder / IDENTITY_FILE).read_text())
    except (OSError, ValueError):
        return False
    return (identity.get("registered_model_name"), identity.get("version"), identity.get("run_id")) == (
        model.name, model.version, model.run_id,
    )  # fmt: skip
