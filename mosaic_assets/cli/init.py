"""``mosaic init``: a new project with one tiny story that works, to be edited."""

import keyword
import re
import shlex
import shutil
import sysconfig
from pathlib import Path
from typing import Annotated

import typer

from mosaic_assets.cli.output import Output, OutputOption, console, emit, errors
from mosaic_resources.errors import UserError

__all__ = ["first_commands", "init", "make_project"]

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

        next_commands = first_commands(folder, Path(sysconfig.get_path("scripts")), shutil.which("mosaic"))

        def show() -> None:
            console.print(f"[green]made[/green] {root} ({len(made)} files)", soft_wrap=True)
            console.print(
                "\n".join(f"  {line}" for line in next_commands), markup=False, highlight=False, soft_wrap=True
            )
            console.print("README.md there goes on: a second file, another column, a model and its service.")

        files = [str(file.relative_to(root)) for file in made]
        emit({"project": str(root), "files": files, "next": next_commands}, output, show)


def first_commands(folder: Path, scripts: Path, found: str | None) -> list[str]:
    """Returns what to type next: it works when pasted, also where the environment is not activated.

    Args:
        folder: The project, as it was named.
        scripts: Folder of the scripts of the running environment.
        found: The ``mosaic`` that the shell would find, if any.

    Example:
        >>> first_commands(Path("my-project"), Path("/opt/mosaic/bin"), "/opt/mosaic/bin/mosaic")[:2]
        ['cd my-project', 'mosaic validate']
    """
    reached = found is not None and Path(found).parent.resolve() == scripts.resolve()
    activate = scripts / "activate"
    first = [] if reached or not activate.is_file() else [f"source {shlex.quote(str(activate))}"]
    mosaic = "mosaic" if reached or first else shlex.quote(str(scripts / "mosaic"))
    verbs = ("validate", "materialize 'raw/trips+'", "status")
    return [*first, f"cd {shlex.quote(str(folder))}", *(f"{mosaic} {verb}" for verb in verbs)]


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
