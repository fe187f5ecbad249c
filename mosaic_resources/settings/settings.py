"""One immutable description of where this project keeps and finds everything."""

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mosaic_resources.errors import UnknownNameError, UserError
from mosaic_resources.settings.references import resolved_options

__all__ = ["Settings", "find_project_root", "load_settings", "read_dotenv"]

# Variables that other tools own keep their names; ours are MOSAIC_<FIELD>.
FOREIGN_VARIABLES = {
    "spark_remote": "SPARK_REMOTE",
    "mlflow_tracking_uri": "MLFLOW_TRACKING_URI",
    "openlineage_url": "OPENLINEAGE_URL",
    "openlineage_namespace": "OPENLINEAGE_NAMESPACE",
}


class Settings(BaseModel):
    """Addresses and limits of one target; everything the package opens is named here.

    A field is taken from the environment (``MOSAIC_<FIELD>``, or the variable that the tool itself
    defines, such as ``SPARK_REMOTE``), else from ``[tool.mosaic.targets.<target>]`` in the project's
    pyproject.toml, else the embedded default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: str = Field("dev", description="Name of the target whose addresses are used.")
    project_root: Path = Field(description="Folder that holds pyproject.toml.")
    state: Path = Field(description="Folder for everything that runs leave behind.")
    lake: str = Field(description="Folder or object-store address of the Delta tables.")
    landing: str = Field(description="Folder or object-store address that landed files arrive in.")
    storage_options: dict[str, str] = Field(
        {}, description="Options of the object store of lake and landing; ${NAME} for what is secret.", repr=False
    )
    engine: Literal["sail", "spark", "connect"] = Field(
        "sail", description="sail: embedded, no JVM. spark: local JVM. connect: an sc:// address."
    )
    spark_remote: str | None = Field(None, description="sc:// address; sets engine to connect.")
    engine_memory_bytes: int = Field(0, ge=0, description="Memory pool of the engine; 0: a quarter of the RAM.")
    online: str = Field(description="Address of the online store; a path means LMDB.", repr=False)
    mlflow_tracking_uri: str = Field(description="MLflow tracking and registry address.")
    openlineage_url: str | None = Field(None, description="Collector address; None: events go to a file.")
    openlineage_namespace: str = Field("mosaic", description="Namespace of the lineage jobs.")

    @property
    def outbox(self) -> Path:
        """Path of the lineage outbox, a SQLite file."""
        return self.state / "outbox.db"

    @property
    def spool(self) -> Path:
        """Folder of the inference log's spool."""
        return self.state / "spool"

    def opened_storage_options(self) -> dict[str, str] | None:
        """Returns the options of the object store with the values of their variables; None where there are none.

        Raises:
            UserError: A variable is not set, or a secret is written in place.
        """
        return resolved_options(self.storage_options, f"target '{self.target}'") or None

    @property
    def writer(self) -> Literal["delta-rs", "delta-spark"]:
        """The one family of writers that commits to this lake."""
        return "delta-rs" if self.engine == "sail" else "delta-spark"


def find_project_root(start: Path) -> Path:
    """Returns the nearest folder at or above ``start`` whose pyproject.toml has a ``[tool.dg]`` table.

    Raises:
        UserError: No such folder exists.
    """
    for folder in (start, *start.parents):
        file = folder / "pyproject.toml"
        if file.is_file() and "dg" in tomllib.loads(file.read_text()).get("tool", {}):
            return folder
    raise UserError(
        "No project here: no pyproject.toml with a [tool.dg] table.",
        str(start),
        "Change into a project, or make one with 'mosaic init'.",
    )


def read_dotenv(project_root: Path) -> dict[str, str]:
    """Returns what the project's ``.env`` sets; nothing where there is none."""
    from dotenv import dotenv_values

    return {name: value for name, value in dotenv_values(project_root / ".env").items() if value is not None}


def load_settings(project_root: Path, environ: Mapping[str, str] | None = None, target: str | None = None) -> Settings:
    """Returns the settings of one target.

    Args:
        project_root: Folder with pyproject.toml.
        environ: Environment to read; default: the process's own.
        target: Target name; default: ``MOSAIC_TARGET``, else ``dev``.

    Raises:
        UnknownNameError: The target is neither ``dev`` nor declared.
        UserError: A value does not fit its field.
    """
    env = os.environ if environ is None else environ
    name = target or env.get("MOSAIC_TARGET") or "dev"
    declared = _declared_targets(project_root)
    if name != "dev" and name not in declared:
        raise UnknownNameError("target", name, {"dev", *declared}, str(project_root / "pyproject.toml"))
    values: dict[str, Any] = {**declared.get(name, {}), **_from_environment(env)}
    state = Path(values.setdefault("state", project_root / ".mosaic"))
    state = state if state.is_absolute() else project_root / state
    values |= {"state": state, "target": name, "project_root": project_root}
    for field in ("lake", "landing", "online"):
        if field in values and "://" not in values[field]:
            values[field] = str(project_root / values[field])  # an absolute path stays as it is
    values.setdefault("lake", str(state / "lake"))
    values.setdefault("landing", str(state / "landing"))
    values.setdefault("online", str(state / "online"))
    values.setdefault("mlflow_tracking_uri", f"sqlite:///{state / 'mlflow' / 'mlflow.db'}")
    if values.get("spark_remote"):
        values["engine"] = "connect"
    try:
        return Settings(**values)
    except ValidationError as exc:
        first = exc.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UserError(f"Setting '{field}': {first['msg']}.", f"target '{name}'") from exc


def _declared_targets(project_root: Path) -> dict[str, dict[str, Any]]:
    file = project_root / "pyproject.toml"
    if not file.is_file():
        return {}
    targets: dict[str, dict[str, Any]] = (
        tomllib.loads(file.read_text()).get("tool", {}).get("mosaic", {}).get("targets", {})
    )
    return targets


def _from_environment(env: Mapping[str, str]) -> dict[str, Any]:
    names = {field: FOREIGN_VARIABLES.get(field, f"MOSAIC_{field.upper()}") for field in Settings.model_fields}
    found: dict[str, Any] = {
        field: env[name] for field, name in names.items() if env.get(name) and field not in ("target", "project_root")
    }
    if "storage_options" in found:
        try:
            found["storage_options"] = json.loads(found["storage_options"])
        except ValueError as exc:
            raise UserError("It is no JSON object.", names["storage_options"], 'Write {"aws_region": …}.') from exc
    return found
