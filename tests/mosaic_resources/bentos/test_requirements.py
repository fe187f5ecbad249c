from pathlib import Path

import pytest

from mosaic_resources.bentos.installed import installed_lock, installed_version
from mosaic_resources.bentos.requirements import FORBIDDEN, ROOTS, filter_lock, read_lock
from mosaic_resources.errors import DependencyError, InternalError, UserError

LOCK = "\n".join(
    [
        "# made by uv",
        "a==1 ; python_version >= '3.11' \\",
        "    --hash=sha256:aa \\",
        "    --hash=sha256:ab",
        "    # via b",
    ]
    + [f"{name}==1 \\\n    --hash=sha256:{name}" for name in ("b-c", "d", "torch")]
)
REQUIRES = {
    "a": ["B.c[fast]>=1", "win; sys_platform == 'win32'"],
    "b-c": ["d; extra == 'fast'", "torch; extra == 'slow'"],
}


def requires(name: str) -> list[str]:
    return REQUIRES.get(name, [])


def test_lock_is_cut_to_what_the_roots_need() -> None:
    kept = filter_lock(LOCK, ["a"], requires)
    assert list(read_lock(kept)) == ["a", "b-c", "d"]
    assert kept.startswith("a==1 ; python_version >= '3.11' \\\n    --hash=sha256:aa \\\n    --hash=sha256:ab\nb-c==1")


def test_absent_and_heavy_and_unhashed_pins_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"'e' is not in the lock.*or remove the file: then what is installed here is locked"
    ):
        filter_lock(LOCK, ["e"], requires)
    with pytest.raises(InternalError, match="would need 'torch'"):
        filter_lock(LOCK, ["torch"], requires)
    with pytest.raises(UserError, match="'f' is locked without a hash"):
        read_lock("f==1\n")


def test_our_own_lock_serves_without_the_heavy_packages() -> None:
    kept = filter_lock((Path(__file__).parents[3] / "requirements.lock").read_text())
    names = set(read_lock(kept))
    assert {"bentoml", "lmdb", "onnxruntime", "orjson", "uvicorn", "uvloop"} <= names
    assert not names & FORBIDDEN
    assert "://" not in kept
    assert "--index" not in kept


INSTALLED = {"a": "1", "b-c": "1", "d": "1", "torch": "1"}


def test_without_a_lock_what_is_installed_is_locked() -> None:
    kept = installed_lock(["a"], LOCK, requires, INSTALLED.get)
    assert kept == "# As installed where this was built, with hashes.\n" + filter_lock(LOCK, ["a"], requires)
    # Hashes are for all or for none: pip refuses a mixture.
    for known, versions in ((LOCK, {**INSTALLED, "d": "2"}), (LOCK, {**INSTALLED, "d": "1.0"}), ("", INSTALLED)):
        bare = installed_lock(["a"], known, requires, versions.get)
        assert bare.splitlines()[1:] == ["a==1", "b-c==1", f"d=={versions['d']}"]
        assert "no hashes are known" in bare


def test_what_is_not_installed_or_heavy_is_refused_with_what_to_do() -> None:
    with pytest.raises(DependencyError, match=r"'d' is not installed here.*Install 'mosaic-assets\[serve\]'"):
        installed_lock(["a"], LOCK, requires, {"a": "1", "b-c": "1"}.get)
    with pytest.raises(InternalError, match="would need 'torch'"):
        installed_lock(["torch"], LOCK, requires, INSTALLED.get)


def test_this_environment_can_be_locked() -> None:
    kept = installed_lock(ROOTS)
    assert f"bentoml=={installed_version('bentoml')}\n" in kept
    assert not FORBIDDEN & {line.partition("==")[0] for line in kept.splitlines()}
