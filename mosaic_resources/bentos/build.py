"""Builds a Bento: sources of the runtime, model folder, specification, on-demand file, its own locked requirements."""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mosaic_resources.bentos.installed import installed_lock
from mosaic_resources.bentos.model_folder import MODEL_FILES
from mosaic_resources.bentos.on_demand import file_sha256
from mosaic_resources.bentos.requirements import ROOTS, filter_lock
from mosaic_resources.bentos.specification import SPECIFICATION_FILE, ServiceSpecification
from mosaic_resources.errors import DependencyError, InternalError, UserError
from mosaic_resources.telemetry import without_telemetry

__all__ = ["BuiltBento", "build_bento"]

BUILD_SECONDS = 180
LOCK_FILE = "requirements.lock"
# What the runtime imports of mosaic_resources; a test imports the runtime from a Bento alone.
SOURCES = (
    "bento/*.py",
    "mosaic_resources/__init__.py",
    "mosaic_resources/errors.py",
    "mosaic_resources/online/*.py",
    "mosaic_resources/spool/*.py",
    *(
        f"mosaic_resources/bentos/{name}.py"
        for name in ("__init__", "encoding", "model_folder", "on_demand", "scoring", "specification")
    ),
)


@dataclass(frozen=True)
class BuiltBento:
    """A Bento in a store of our own.

    Args:
        tag: ``name:version``; the version is the model's and a hash of everything inside.
        path: Its folder.
    """

    tag: str
    path: Path

    @property
    def sources(self) -> Path:
        """The folder with the code; it comes first on the endpoint's path."""
        return self.path / "src"

    @property
    def requirements(self) -> str:
        """What its requirements were locked from."""
        first = (self.sources / LOCK_FILE).read_text().partition("\n")[0]
        return first.removeprefix("# ") if first.startswith("#") else "The project's requirements.lock."


def build_bento(
    specification: ServiceSpecification,
    model_folder: Path,
    on_demand: Path | None,
    *,
    lock: Path | None,
    bentoml_home: Path,
    packages: Sequence[str] = (),
) -> BuiltBento:
    """Returns the Bento of a service; the same contents are built once.

    BentoML imports the service to build it, so that happens in a process of its own.

    Args:
        specification: The service.
        model_folder: The model's folder; what a registry has put beside the model's own files stays there.
        on_demand: The on-demand file that the specification names by hash; None where it names none.
        lock: Hash-locked requirements of the project; None: what is installed here is locked.
        bentoml_home: Folder of the Bento store.
        packages: Packages that the service needs beside the usual ones, to reach its online store.

    Raises:
        UserError: A file is missing, or the on-demand file is not the specified one.
        DependencyError: BentoML is missing, failed or took too long.
    """
    with tempfile.TemporaryDirectory(prefix="mosaic-bento-") as scratch:
        context = Path(scratch)
        _gather(context, specification, model_folder, on_demand, lock=lock, packages=packages)
        version = f"{specification.model.version}-{_digest(context)}"
        built = BuiltBento(f"{specification.name}:{version}", bentoml_home / "bentos" / specification.name / version)
        if not (built.path / "bento.yaml").is_file():
            _write_dockerfile(context, built.tag)
            _run_bentoml(context, specification.name, version, bentoml_home)
        if not (built.path / "bento.yaml").is_file():
            raise InternalError("BentoML built no Bento where it was expected.", str(built.path))
    return built


def _gather(
    context: Path,
    specification: ServiceSpecification,
    model_folder: Path,
    on_demand: Path | None,
    *,
    lock: Path | None,
    packages: Sequence[str],
) -> None:
    for root, pattern in ((_package_root(pattern.split("/", 1)[0]), pattern) for pattern in SOURCES):
        for file in sorted(root.glob(pattern)):
            _copy(file, context / file.relative_to(root))
    served = context / "served"
    served.mkdir()
    (served / SPECIFICATION_FILE).write_text(specification.model_dump_json(indent=1))
    for name in MODEL_FILES:
        if (model_folder / name).is_file():
            _copy(model_folder / name, served / "model" / name)
    named = specification.on_demand
    if named is not None:
        if on_demand is None or not on_demand.is_file() or file_sha256(on_demand) != named.sha256:
            raise UserError("The on-demand file is not the one that the specification names.", str(on_demand))
        _copy(on_demand, served / named.file)
    roots = (*ROOTS, *packages)
    text = filter_lock(lock.read_text(), roots) if lock else installed_lock(roots, _known_hashes())
    (context / LOCK_FILE).write_text(text)


def _known_hashes() -> str:
    """Returns the lock that this package was tested with: beside this file in the wheel, else in the checkout."""
    for file in (Path(__file__).with_name(LOCK_FILE), _package_root("mosaic_resources") / LOCK_FILE):
        if file.is_file():
            return file.read_text()
    return ""


def _package_root(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise InternalError(f"The package '{package}' is not installed.")
    return Path(found.submodule_search_locations[0]).parent


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _digest(context: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path for path in context.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(context)}\0{file_sha256(file)}\0".encode())
    return digest.hexdigest()[:12]


def _write_dockerfile(context: Path, tag: str) -> None:
    template = Path(__file__).with_name("Dockerfile.template").read_text()
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    hashes = "--require-hashes " if "--hash=" in (context / LOCK_FILE).read_text() else ""
    (context / "Dockerfile").write_text(template.format(tag=tag, python=python, hashes=hashes))


def _run_bentoml(context: Path, name: str, version: str, bentoml_home: Path) -> None:
    options = {
        "service": "bento.service:Endpoint",
        "name": name,
        "include": ["bento/", "mosaic_resources/", "served/", LOCK_FILE, "Dockerfile"],
        "exclude": ["__pycache__/"],
        "python": {"requirements_txt": f"./{LOCK_FILE}", "lock_packages": False},
    }
    (context / "bentofile.yaml").write_text(json.dumps(options))  # JSON is YAML.
    bentoml_home.mkdir(parents=True, exist_ok=True)
    environment = {
        **without_telemetry(os.environ),
        "BENTOML_HOME": str(bentoml_home),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(context),
        "PATH": f"{_uv_stand_in(context)}:{os.environ.get('PATH', '')}",
    }
    command = [sys.executable, "-m", "bentoml", "build", "--version", version, "--output", "tag", str(context)]
    try:
        done = subprocess.run(
            command, cwd=context, env=environment, capture_output=True, text=True, timeout=BUILD_SECONDS
        )
    except subprocess.TimeoutExpired as exc:
        raise DependencyError(
            f"BentoML did not finish within {BUILD_SECONDS} seconds.", name, "Try again on a quieter machine."
        ) from exc
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()[-12:]
        raise DependencyError("BentoML could not build the Bento:\n" + "\n".join(lines), f"{name}:{version}")


def _uv_stand_in(context: Path) -> Path:
    """Returns a folder with a ``uv`` that refuses to run.

    BentoML looks for uv before it asks whether it has to lock anything, and would install it from the network.
    """
    folder = context / ".tools"
    folder.mkdir()
    (folder / "uv").write_text("#!/bin/sh\nexit 64\n")
    (folder / "uv").chmod(0o755)
    return folder
