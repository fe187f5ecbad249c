"""Errors: a module that is not there is told by the extra that brings it."""

import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from mosaic_resources.errors import EXTRAS, DependencyError, extras_named

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def test_every_extra_that_is_named_exists():
    assert set(EXTRAS.values()) < set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("module", ["torch", "torch.nn", "sklearn.ensemble"])
def test_a_module_of_an_extra_is_told_with_it(monkeypatch: pytest.MonkeyPatch, module: str):
    for name in (module.partition(".")[0], module):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr("sys.path", [])  # As where nothing but the standard library is installed.
    top = module.partition(".")[0]
    said = rf"'{top}' is not installed\. Install 'mosaic-assets\[train\]'"
    with pytest.raises(DependencyError, match=said), extras_named():
        import_module(module)


def test_another_missing_module_stays_as_it_is():
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), extras_named():
        import_module("no_such_module")
