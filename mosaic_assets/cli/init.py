"""``mosaic init``: a new project with one tiny story that works, to be edited."""

import keyword
import re
from pathlib import Path
from typing import Annotated

import typer

from mosaic_assets.cli.output import Output, OutputOption, console, emit, errors
from mosaic_resources.errors import UserError

__all__ = ["init", "make_project"]

TEMPLATE = Path(__file__).parent / "template"
SUFFIX = ".template"


def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make; its name becomes the project's.", file_okay=False)],
    output: OutputOption = Output.text,
) -> None:
    """Make a new project with one tiny working story: a source table, a SQL table, a feature view."""
    with errors(output):
        made = make_project(folder)
        root = folder.resolve()

        def show() -> None:
            console.print(f"[green]made[/green] {root} ({len(made)} files)", soft_wrap=True)
            console.print(
                f"  cd {folder}\n  mosaic validate\n  mosaic materialize 'raw/trips+'\n  mosaic status", markup=False
            )

        emit({"project": str(root), "files": [str(file.relative_to(root)) for file in made]}, output, show)


def make_project(folder: Path) -> list[Path]:
    """Writes a project into a folder that is new or empty, and returns its files.

    Args:
        folder: The folder; its name, in lower case and with underscores, becomes the Python package.

    Raises:
        UserError: The folder holds something, or its name makes no package.
    """
    root = folder.resolve()
    package = re.sub(r"\W+", "_", root.name.lower()).strip("_")
    if (
        not package.isidentifier()
        or keyword.iskeyword(package)
        or package in ("mosaic_assets", "mosaic_resources", "bento")
    ):
        raise UserError(
            f"'{root.name}' makes no name for a Python package.", do="Begin it with a letter, for instance my_project."
        )
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UserError("There is something here already.", str(root), "Name a new or an empty folder.")
    made = []
    for source in sorted(file for file in TEMPLATE.rglob("*") if file.is_file() and "__pycache__" not in file.parts):
        target = root / _target(source.relative_to(TEMPLATE).as_posix(), package)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = source.read_text().replace("PACKAGE", package).replace("PROJECT", root.name)
        target.write_text(text)
        made.append(target)
    return made


def _target(name: str, package: str) -> str:
    """Returns where a file of the template goes; the suffix keeps tools from taking the template for a project."""
    plain = name.removesuffix(SUFFIX).replace("PACKAGE", package)
    return ".gitignore" if plain == "gitignore" else plain
