"""What a Bento holds, and that it needs nothing else."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx
import pytest

from mosaic_assets.services.build import build_service
from mosaic_resources.errors import DependencyError, UserError

UV = Path(__file__).parents[2] / ".tools" / "bin" / "uv"


def rebuild(story: Any, **changes: Any) -> Any:
    given = {
        "lock": Path(__file__).parents[2] / "requirements.lock",
        "on_demand": story.root / "features.py",
        **changes,
    }
    return build_service(
        "flights",
        given.pop("model", story.root / "model-1"),
        story.service,
        story.request,
        label="late",
        bentoml_home=story.root / "bentoml",
        **given,
    )


def test_holds_what_it_needs_and_nothing_of_the_factory(story: Any) -> None:
    source = story.bentos[0].sources
    files = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    wanted = {"bento/service.py", "mosaic_resources/online/blob.py", "requirements.lock", "Dockerfile"}
    served = {
        "served/specification.json",
        "served/on_demand.py",
        "served/model/model.onnx",
        "served/model/encoding.json",
    }
    assert wanted | served <= files
    assert not [name for name in files if name.startswith("mosaic_assets") or "delta" in name or name.endswith(".pyc")]
    dockerfile = (source / "Dockerfile").read_text()
    assert dockerfile.startswith("# Not built here")
    assert "--require-hashes" in dockerfile
    assert "USER mosaic" in dockerfile


def test_runtime_imports_from_the_bento_alone(story: Any) -> None:
    code = (
        "import sys, bento.service, mosaic_resources.bentos.scoring as s\n"
        "heavy = {'dagster','torch','pyspark','deltalake','pyarrow','mlflow','mosaic_assets'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert bento.service.__file__.startswith(sys.argv[1]) and s.__file__.startswith(sys.argv[1])\n"
    )
    source = str(story.bentos[0].sources)
    done = subprocess.run(
        [sys.executable, "-c", code, source],
        cwd=source,
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_same_contents_are_the_same_bento(story: Any) -> None:
    began = time.monotonic()
    assert rebuild(story) == story.bentos[0]
    assert time.monotonic() - began < 1, "it was built again"


def test_a_project_without_a_lock_gets_what_is_installed(story: Any) -> None:
    built = rebuild(story, lock=None)
    pins = re.findall(r"^([a-z0-9-]+)==(\S+)", (built.sources / "requirements.lock").read_text(), re.M)
    assert {"bentoml", "onnxruntime", "uvicorn"} <= {name for name, _ in pins}
    assert {name: metadata.version(name) for name, _ in pins} == dict(pins)
    hashed = "--hash=" in (built.sources / "requirements.lock").read_text()
    assert ("--require-hashes" in (built.sources / "Dockerfile").read_text()) == hashed
    assert built.requirements.startswith("As installed where this was built")
    assert story.bentos[0].requirements == "The project's requirements.lock."


def test_missing_on_demand_file_is_refused(story: Any) -> None:
    with pytest.raises(UserError, match="The model reads 'hours_ahead'"):
        rebuild(story, on_demand=None)


def test_bentoml_that_fails_is_told_with_its_words(story: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(story.root / "model-1", tmp_path / "model")
    (tmp_path / "model/model.safetensors").write_bytes(b"another content, another version")
    monkeypatch.setenv("BENTOML_CONFIG", str(tmp_path / "none.yaml"))
    with pytest.raises(DependencyError, match=r"BentoML could not build the Bento:[\s\S]*none\.yaml"):
        rebuild(story, model=tmp_path / "model")


@pytest.mark.parametrize("server", ["bento.serve", "bentoml serve"])
def test_starts_and_answers_in_a_clean_environment(
    story: Any, row: dict[str, Any], tmp_path_factory: pytest.TempPathFactory, server: str
) -> None:
    if not UV.is_file():
        pytest.skip("there is no uv in .tools/bin")
    built, folder = story.bentos[0], tmp_path_factory.getbasetemp() / "clean"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([UV, "venv", "--python", sys.executable, folder], check=True, capture_output=True)
        install = [
            UV,
            "pip",
            "install",
            "--python",
            python,
            "--require-hashes",
            "--no-deps",
            "-r",
            built.sources / "requirements.lock",
        ]
        subprocess.run(install, check=True, capture_output=True)
    names = ("torch", "dagster", "pyspark", "deltalake", "pyarrow")
    absent = f"import importlib.util as u; assert not any(map(u.find_spec, {names}))"
    subprocess.run([python, "-c", absent], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    commands = {
        "bento.serve": [python, "-m", "bento.serve", "--port", str(port)],
        "bentoml serve": [python, "-m", "bentoml", "serve", built.tag, "--port", str(port)],
    }
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "BENTOML_HOME": str(story.root / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "MOSAIC_ONLINE": story.online,
        "MOSAIC_SPOOL": str(folder / "spool"),
    }
    if server == "bento.serve":
        environment["PYTHONPATH"] = str(built.sources)
    child = subprocess.Popen(commands[server], env=environment, cwd=built.sources, start_new_session=True)
    try:
        assert answer_of(port, row)["model_version"] == "1"
    finally:
        os.killpg(child.pid, 15)
        child.wait(30)


def answer_of(port: int, row: dict[str, Any]) -> Any:
    for _ in range(300):
        try:
            answer = httpx.post(f"http://127.0.0.1:{port}/v1/predict", json=row, trust_env=False)
            assert answer.status_code == 200, answer.text
            return answer.json()
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError("it did not answer within a minute")
