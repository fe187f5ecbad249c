"""A dbt project as data: its models, where they read from, their tests, their compiled SQL."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from mosaic_resources.errors import DependencyError, UserError, missing_extra

__all__ = ["DbtModel", "DbtTest", "load_manifest", "models_of", "prepare"]

SOURCES = ("*.sql", "*.yml", "*.yaml")


@dataclass(frozen=True)
class DbtTest:
    """A test of a model.

    Args:
        unique_id: dbt's id.
        name: Name of the asset check.
    """

    unique_id: str
    name: str


@dataclass(frozen=True)
class DbtModel:
    """A model of the project.

    Args:
        unique_id: dbt's id.
        key: Asset key as text; also the table's place in the lake.
        deps: Keys of the sources and models that it reads.
        description: As in its yml.
        checksum: Hash of its SQL.
        tests: Tests on it.
    """

    unique_id: str
    key: str
    deps: tuple[str, ...]
    description: str
    checksum: str
    tests: tuple[DbtTest, ...]


def prepare(project: Path, lake: str) -> None:
    """Ensures that ``target/manifest.json`` is newer than the project's files; parses where it is not.

    Raises:
        UserError: dbt refuses the project.
        DependencyError: dbt is not installed or does not answer.
    """
    manifest = project / "target" / "manifest.json"
    files = [file for pattern in SOURCES for file in project.rglob(pattern) if "target" not in file.parts]
    if not files:
        raise UserError("There is no dbt project here.", str(project))
    with filelock.FileLock(project / ".mosaic-parse.lock", timeout=180):
        if manifest.exists() and manifest.stat().st_mtime >= max(file.stat().st_mtime for file in files):
            return
        command = [sys.executable, "-c", "from dbt.cli.main import cli; cli()", "--quiet", "parse"]
        command += ["--project-dir", str(project), "--profiles-dir", str(project), "--no-partial-parse"]
        env = {**os.environ, "MOSAIC_LAKE": lake, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
        try:
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=170, check=False)
        except subprocess.TimeoutExpired as exc:
            raise DependencyError("dbt did not finish parsing in time.", str(project)) from exc
        if "No module named 'dbt'" in done.stderr:
            raise missing_extra("dbt", "sql")
        if done.returncode:
            raise UserError(f"dbt refuses the project: {(done.stdout + done.stderr).strip()[-800:]}", str(project))


def load_manifest(project: Path) -> dict[str, Any]:
    """Returns dbt's manifest of a prepared project."""
    loaded: dict[str, Any] = json.loads((project / "target" / "manifest.json").read_text())
    return loaded


def models_of(manifest: Mapping[str, Any]) -> list[DbtModel]:
    """Returns the models with the keys of what they read, and their tests."""
    nodes: Mapping[str, Any] = manifest["nodes"]
    everything = {**nodes, **manifest["sources"]}
    tests: dict[str, list[DbtTest]] = {}
    for unique_id, node in nodes.items():
        if node["resource_type"] == "test" and node.get("attached_node"):
            tests.setdefault(node["attached_node"], []).append(DbtTest(unique_id, node["name"]))
    return [
        DbtModel(
            unique_id,
            node_key(node),
            tuple(node_key(everything[dep]) for dep in node["depends_on"]["nodes"] if dep in everything),
            node["description"],
            node["checksum"]["checksum"],
            tuple(tests.get(unique_id, ())),
        )
        for unique_id, node in nodes.items()
        if node["resource_type"] == "model"
    ]


def node_key(node: Mapping[str, Any]) -> str:
    """Returns the asset key of a model or source: ``meta.dagster.asset_key``, else its folder or source and name."""
    given: Sequence[str] | None = node.get("meta", {}).get("dagster", {}).get("asset_key")
    if given:
        return "/".join(given)
    if node["resource_type"] == "source":
        return f"{node['source_name']}/{node['name']}"
    return "/".join(node["fqn"][1:])
