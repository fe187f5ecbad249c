"""The bar counts steps of a known number, and moves within a step."""

from rich.progress import Progress

from mosaic_assets.cli.output import Output
from mosaic_assets.cli.progress import Bar, shown
from mosaic_assets.orchestration.ticker import Ticker


def test_bar_shows_step_of_steps_and_the_part_that_is_done() -> None:
    progress = Progress("{task.fields[step]}")
    bar = Bar(progress, progress.add_task("train", total=None, step=""))

    def seen() -> tuple[float | None, float, str]:
        (task,) = progress.tasks
        return task.total, task.completed, task.fields["step"]

    bar.begun("early")
    assert seen() == (None, 0, "early")
    bar.expect(2)
    bar.begun("raw/trips")
    assert seen() == (2, 0, "step 1 of 2 raw/trips")
    bar.note("request 3 of 4", 0.75)
    assert seen() == (2, 0.75, "step 1 of 2 raw/trips: request 3 of 4")
    bar.done("raw/trips")
    bar.begun("models/delay")
    assert seen() == (2, 1, "step 2 of 2 models/delay")
    bar.done("models/delay")
    assert seen() == (2, 2, "step 2 of 2 models/delay")


def test_programs_see_no_bar() -> None:
    with shown("train", Output.json) as ticker:
        assert type(ticker) is Ticker
