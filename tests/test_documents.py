"""What README.md and docs/ say is so: code, commands, paths, links, folders; examples of docstrings run."""

import ast
import doctest
import re
import shlex
import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from mosaic_assets.cli.init import make_project
from mosaic_assets.cli.main import app
from mosaic_assets.orchestration.validation import check_definitions
from mosaic_assets.orchestration.yaml_check import check_documents
from mosaic_resources.settings.references import names_in

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
STORY = ROOT / "mosaic_assets" / "defs" / "flights"
TEMPLATE = ROOT / "mosaic_assets" / "cli" / "template" / "README.md.template"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
MODULES = sorted(
    str(file.relative_to(ROOT).with_suffix("")).replace("/", ".")
    for package in ("mosaic_assets", "mosaic_resources", "bento")
    for file in (ROOT / package).rglob("*.py")
    if ">>> " in file.read_text()
)
VERBS = get_command(app).commands  # type: ignore[attr-defined]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


def commands(page: Path) -> Iterator[list[str]]:
    """Yields the commands of a page, in blocks and in the text, as words."""
    text = page.read_text()
    lines = [line for block in blocks(page, "bash") + blocks(page, "") for line in block.splitlines()]
    told = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    for line in lines + told:
        if re.match(r"(\.venv/bin/)?(mosaic|make|dg) [a-z]", line):
            yield [word.removeprefix(".venv/bin/") for word in shlex.split(line, comments=True)]


def project_of(tmp_path: Path, name: str) -> tuple[Path, Path]:
    root = tmp_path / name
    make_project(root)
    shutil.rmtree(root / name / "defs" / "trips")
    return root, root / name / "defs"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_yaml_fits_the_components_that_it_names(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in names_in(page.read_text()):
        monkeypatch.setenv(name, "hushhush")
    root, defs = project_of(tmp_path, f"page_{page.stem.replace('-', '_').lower()}")
    for number, text in enumerate(blocks(page, "yaml")):
        assert all(document["type"].startswith("mosaic_assets.") for document in yaml.safe_load_all(text))
        (defs / str(number)).mkdir()
        (defs / str(number) / "defs.yaml").write_text(text)
    assert check_documents(root) == []


def test_the_readmes_story_loads_with_its_own_sql_and_is_short(tmp_path: Path):
    root, defs = project_of(tmp_path, "readme_story")
    (declared,), (query,) = blocks(README, "yaml"), blocks(README, "sql")
    assert len((declared + query).splitlines()) <= 80
    (defs / "story").mkdir()
    for document in yaml.safe_load_all(declared):
        if name := document["attributes"].get("sql"):
            room = document["type"].split(".")[1]
            text = query if name == "weather_at_origin.sql" else (STORY / room / name).read_text()
            (defs / "story" / name).write_text(text)
    (defs / "story" / "defs.yaml").write_text(declared)
    wrong, definitions = check_definitions(root)
    assert wrong == []
    assert definitions is not None
    keys = {key.to_user_string() for key in definitions.resolve_asset_graph().executable_asset_keys}
    assert keys == {
        "raw/weather", "tables/flights", "features/weather_at_origin", "online/flight_delay", "datasets/flight_delays",
        "models/flight_delay", "services/flight_delay",
    }  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_python_parses_and_its_names_exist(page: Path):
    for text in blocks(page, "python"):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(("mosaic_", "bento")):
                module = import_module(node.module)
                assert [one.name for one in node.names if not hasattr(module, one.name)] == []


@pytest.mark.parametrize("page", [*PAGES, TEMPLATE], ids=[*NAMES, "template"])
def test_commands_exist_with_the_options_that_are_named(page: Path):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for words in commands(page):
        options = [word for word in words if word.startswith("-")]
        if words[0] == "mosaic":
            verbs = [word for word in words[1:] if word in VERBS] if "|" in words else [words[1]]
            for verb in verbs:
                shown = CliRunner().invoke(app, [verb, "--help"], terminal_width=200, env={"COLUMNS": "200"})
                assert shown.exit_code == 0, words
                known = {name for parameter in VERBS[verb].params for name in [*parameter.opts, "--help"]}
                assert [option for option in options if option not in known] == [], words
        elif words[0] == "make":
            assert words[1] in targets, words
        else:
            from dagster_dg_cli.cli import cli

            assert cli.get_command(click.Context(cli), words[1]), words


def test_the_readme_names_every_verb():
    (line,) = re.findall(r"^`mosaic ([a-z |]+)`", README.read_text(), re.M)
    assert set(line.split(" | ")) == set(VERBS)


@pytest.mark.parametrize("page", [*PAGES, TEMPLATE], ids=[*NAMES, "template"])
def test_component_types_that_are_named_exist(page: Path):
    for module, name in re.findall(r"(mosaic_assets\.\w+)\.(\w+Component)", page.read_text()):
        assert name in import_module(module).__all__


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_and_paths_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), target
    tops = "|".join(folder.name for folder in ROOT.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    for path in re.findall(rf"`((?:{tops})/[\w./]*)`", page.read_text()):
        assert (ROOT / path).exists(), path


def test_the_readmes_map_is_the_folders_that_there_are():
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()} | {".git"}
    there = {f"{entry.name}/" for entry in ROOT.iterdir() if entry.is_dir() and entry.name not in ignored}
    assert set(re.findall(r"^\| `([^`]+/)` \|", README.read_text(), re.M)) == there


@pytest.mark.parametrize("module", MODULES)
def test_examples_of_docstrings_run(module: str):
    outcome = doctest.testmod(import_module(module), optionflags=doctest.ELLIPSIS)
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_no_example_of_a_docstring_is_left_out():
    assert len(MODULES) >= 15
