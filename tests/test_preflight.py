"""The look at the machine before an installation: what it promises, and each thing that it refuses."""

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILE = ROOT / ".ci" / "preflight.py"
_spec = importlib.util.spec_from_file_location("preflight", FILE)
assert _spec is not None
assert _spec.loader is not None
preflight = importlib.util.module_from_spec(_spec)
sys.modules["preflight"] = preflight
_spec.loader.exec_module(preflight)

ENOUGH = preflight.Machine(
    Path("/here"), Path("/here/.uv-cache"), (3, 11, 9), "CPython", has_venv=True, writable=True, free_gb=12.0,
    cache_free_gb=None, held_gb=0.0, cached_gb=0.0, memory_gb=8.0, binds=True,
)  # fmt: skip


@pytest.mark.parametrize(
    ("found", "refused"),
    [
        ({"python": (3, 13, 1)}, "This is CPython 3.13.1, not CPython 3.11 or 3.12. Install one, or run: make PYTHON="),
        ({"implementation": "PyPy"}, "This is PyPy 3.11.9, not CPython"),
        ({"has_venv": False}, "apt-get install python3.11-venv"),
        ({"writable": False}, "/here cannot be written. Clone into a folder of yours."),
        ({"free_gb": 3.0}, "3.0 GB free in /here, 11 GB needed. Free some, or clone elsewhere."),
        ({"free_gb": 1.0, "held_gb": 9.4}, "1.0 GB free in /here, 2 GB needed."),
        ({"cache_free_gb": 2.0, "cache": Path("/far")}, "2.0 GB free for /far, 9.5 GB needed. Set UV_CACHE_DIR."),
        ({"memory_gb": 3.9}, "3.9 GB of memory, 6 GB needed. Give the machine or container more."),
        ({"binds": False}, "No port of 127.0.0.1 can be bound, and the servers of the story need some. Allow it"),
    ],
)
def test_what_does_not_suffice_is_refused_with_what_to_do(found: dict[str, object], refused: str):
    (said,) = preflight.problems(replace(ENOUGH, **found))
    assert refused in said


def test_a_machine_that_suffices_is_told_how_much_where_to_and_how_long():
    assert list(preflight.problems(ENOUGH)) == []
    said = preflight.promise(ENOUGH)
    parts = (
        "About 4 GB are downloaded",
        "in the cache /here/.uv-cache",
        "two minutes",
        "8 at 10 MB/s",
        "9.5 GB on disk",
    )
    assert [part for part in (*parts, "Installing into /here/.venv") if part not in said] == []
    warm = preflight.promise(replace(ENOUGH, held_gb=9.0, cached_gb=6.5))
    parts = ("holds 6.5 GB", "Only what it lacks is downloaded", "nothing, and 1.5 minutes, where it lacks nothing")
    assert [part for part in parts if part not in warm] == []
    assert "About 4 GB are downloaded" not in warm


def test_what_an_interrupted_installation_left_is_not_asked_for_again():
    assert list(preflight.problems(replace(ENOUGH, free_gb=6.0, held_gb=6.0))) == []


def test_files_with_two_names_count_once(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "one").write_bytes(b"x" * 3_000)
    os.link(tmp_path / "a" / "one", tmp_path / "b" / "two")
    assert preflight.held_gb([tmp_path / "a", tmp_path / "b", tmp_path / "none"]) == pytest.approx(3e-6)


def test_a_containers_limit_counts(tmp_path: Path):
    unlimited, limit = tmp_path / "max", tmp_path / "limit"
    unlimited.write_text("max\n")
    limit.write_text("5000000000\n")
    whole = preflight.memory_gb((str(unlimited), str(tmp_path / "none")))
    assert preflight.memory_gb((str(unlimited), str(limit))) == min(whole, 5.0)


def test_a_port_is_bound_for_real():
    assert preflight.binds("127.0.0.1")
    assert not preflight.binds("192.0.2.1")  # Reserved for documentation: no machine has it.


def test_the_command_looks_at_this_machine(tmp_path: Path):
    env = {**os.environ, "UV_CACHE_DIR": str(tmp_path / "not" / "yet")}
    done = subprocess.run([sys.executable, FILE], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        assert "cannot install: " in done.stdout
    else:
        assert f"Installing into {tmp_path}/.venv" in done.stdout
        assert str(tmp_path / "not" / "yet") in done.stdout


def test_make_looks_before_it_fetches_uv(tmp_path: Path):
    plan = subprocess.run(
        ["make", "--dry-run", "install", f"PYTHON={sys.executable}"], cwd=_bare_checkout(tmp_path),
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert plan.index("preflight.py") < plan.index("pip install") < plan.index("pip sync")


def _bare_checkout(tmp_path: Path) -> Path:
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    return tmp_path
