"""A bar for what goes on: how many steps of how many, the one that runs, what it says of itself, for how long."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from mosaic_assets.cli.output import Output, console
from mosaic_assets.orchestration.ticker import Ticker

__all__ = ["Bar", "Display", "shown"]


class Display(Progress):
    """A row for the title with the bar, and the step below it, each over as many lines as the terminal needs."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """Returns the rows of each bar."""
        for task in self.tasks:
            yield self.make_tasks_table([task])
            yield Padding(Text(task.fields["step"], style="dim", overflow="fold"), (0, 0, 0, 2))


class Bar(Ticker):
    """Moves a bar by what a run tells.

    Args:
        progress: The display.
        task: The bar; its field ``step`` is the text beside it.
    """

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task
        self._num_steps, self._num_done, self._step = 0, 0, ""

    def expect(self, num_steps: int) -> None:
        """Fixes the bar's length."""
        self._num_steps = num_steps
        self._show()

    def begun(self, step: str) -> None:
        """Shows a step's name."""
        self._step = step
        self._show()

    def done(self, step: str) -> None:
        """Moves the bar by a step."""
        self._num_done += 1
        self._show()

    def note(self, text: str, part: float = 0.0) -> None:
        """Shows what the step says of itself, and moves the bar by the part of it that is done."""
        self._show(f": {text}", part)

    def refresh(self) -> None:
        """Draws at once, not at the display's own pace."""
        self._progress.refresh()

    def _show(self, more: str = "", part: float = 0.0) -> None:
        number = min(self._num_done + 1, self._num_steps)
        text = f"step {number} of {self._num_steps} {self._step}{more}" if self._num_steps else f"{self._step}{more}"
        self._progress.update(
            self._task, total=self._num_steps or None, completed=self._num_done + min(part, 1.0), step=text
        )


@contextmanager
def shown(title: str, output: Output) -> Iterator[Ticker]:
    """Yields the ticker of a bar; a line with the time that it took stays. For programs nothing is shown.

    Args:
        title: What goes on.
        output: Form of what the verb prints.
    """
    if output is Output.json:
        yield Ticker()
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", table_column=Column(ratio=1, overflow="fold")),
        BarColumn(10),
        TimeElapsedColumn(table_column=Column(width=7, no_wrap=True)),
    )
    began = time.monotonic()
    if console.is_terminal:
        with Display(*columns, console=console, transient=True, expand=True) as progress:
            yield Bar(progress, progress.add_task(title, total=None, step=""))
    else:  # in a file or a pipe the lines that stay are all there is
        yield Ticker()
    console.print(f"  [green]✓[/green] {title} [dim]{time.monotonic() - began:.1f} s[/dim]", soft_wrap=True)
