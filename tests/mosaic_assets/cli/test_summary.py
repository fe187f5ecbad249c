"""What the demo's summary tells people to try runs as it stands, and shows what it says; no table is cut."""

import io
import subprocess
import sys
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from rich.console import Console

from mosaic_assets.cli import progress, summary
from mosaic_assets.cli.output import Output
from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.lake import Lake

COLUMNS = ["flight_id", "asked_at", "probability", "prediction", "model_version"]


def told(lake: Lake) -> dict[str, object]:
    def row(day: int, month: int, version: str) -> dict[str, object]:
        name = f"{month:02}-{day:02}-v{version}"
        return dict(zip(COLUMNS, (name, datetime(2013, month, day, tzinfo=UTC), 0.43, 1, version), strict=True))

    august = [row(day, 8, version) for day in range(1, 29) for version in ("1", "2")]
    rows = [*august, *(row(day, 7, "1") for day in range(1, 29))]  # a later file may hold an earlier month
    lake.write("predictions/late", pa.Table.from_pylist(rows), Commit("predictions/late"))
    return {
        "endpoint": "http://127.0.0.1:1", "example_time": "2013-09-01T00:00:00Z", "example_body": "{}",
        "predictions_path": lake.path("predictions/late"), "champion": "2", "asked_at": "asked_at",
        "prediction_columns": COLUMNS, "request_id": "r",
    }  # fmt: skip


def test_lines_of_python_show_the_newest_predictions_of_the_champion(lake: Lake) -> None:
    lines = summary.next_commands(told(lake))
    first = next(number for number, line in enumerate(lines) if line.startswith(".venv/bin/python"))
    command = "\n".join(lines[first : first + 3]).replace(".venv/bin/python", sys.executable)
    shown = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout
    assert [line.split()[0] for line in shown.splitlines()[1:]] == [f"08-{day}-v2" for day in range(24, 29)]


@pytest.mark.parametrize("width", [40, 80])
def test_summary_cuts_nothing_in_a_narrow_terminal(lake: Lake, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    written = Console(file=io.StringIO(), width=width)
    monkeypatch.setattr(summary, "console", written)
    name = "predictions/a_reference_with_a_rather_long_name"
    summary.show(
        {
            **told(lake), "state": "/state", "state_bytes": 1, "trace": "", "incidents": [], "seconds": {"tables": 1.0},
            "tables": [{"table": name, "version": 1, "rows": 2}], "quarantine": {},
            "auc_by_month": [{"month": "2013-07", "model": name, "version": "1", "auc": None,
                              "state": "not_enough_labels", "labelled": 28_280}],
        }
    )  # fmt: skip
    text = written.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in text
    assert "/v1/predict" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_cuts_neither_title_nor_step(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    screen = Console(file=io.StringIO(), width=40, force_terminal=terminal, color_system=None)
    monkeypatch.setattr(progress, "console", screen)
    title, step = "materialize online, build the Bento, start", "online/flight_delay_with_a_long_name"
    with progress.shown(title, Output.text) as ticker:
        ticker.expect(3)
        ticker.begun(step)
        ticker.note("request 1,999 of 2,000", 0.9)
        if isinstance(ticker, progress.Bar):
            ticker.refresh()
    text = screen.file.getvalue()  # type: ignore[attr-defined]
    assert f"✓ {title}" in text
    assert "…" not in text
    if terminal:
        for word in (*title.split(), "step 1 of 3", "request 1,999 of", "2,000"):
            assert word in text
        assert "online/flight_delay_with_a_long_name" in text
