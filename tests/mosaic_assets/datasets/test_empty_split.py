"""Data that is history: what an empty split says, and that following it helps."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from mosaic_assets.cli.init import make_project
from mosaic_assets.cli.main import app
from mosaic_assets.datasets.build import DatasetPlan, usable_rows
from mosaic_assets.datasets.declarations import splitting_of
from mosaic_assets.datasets.splits import Splitting, split_column
from mosaic_assets.datasets.time_splits import TimeSplit
from mosaic_assets.features.views import FeatureService
from mosaic_resources.errors import UserError
from mosaic_resources.settings.clock import now_utc

NOW = datetime(2026, 11, 24, tzinfo=UTC)
PLAN = DatasetPlan("homes", FeatureService("none", ()), ("id",), "asked_at", "sold", "known_at", ())


def rows(first: datetime, num_days: int) -> pa.Table:
    at = pa.array([first + timedelta(days=day) for day in range(num_days)], pa.timestamp("us", tz="UTC"))
    numbers = pa.array(np.arange(num_days))
    return pa.table({"id": numbers, "asked_at": at, "known_at": at, "sold": numbers})


def split(table: pa.Table, splitting: Splitting) -> list[str]:
    return split_column(table, ("id",), "asked_at", splitting, "homes").to_pylist()


def test_an_old_year_says_what_was_expected_what_there_is_and_what_helps():
    table = rows(datetime(2019, 1, 1, tzinfo=UTC), 365)
    with pytest.raises(UserError) as caught:
        split(table, Splitting(bounds=TimeSplit().bounds(NOW)))
    told = str(caught.value)
    assert "'validation' has no rows: it takes 'asked_at' from 2026-10-01 to before 2026-11-01" in told
    assert "the 365 rows have it from 2019-01-01 to 2019-12-31" in told
    # Each remedy that it names gives both splits their rows.
    (clock,) = re.findall(r"mosaic clock (\d{4}-\d\d-\d\d)", told)
    by_clock = Splitting(bounds=TimeSplit().bounds(datetime.fromisoformat(clock).replace(tzinfo=UTC)))
    ((train, validation),) = re.findall(r"\{train: (\S+), validation: (\S+)\}", told)
    by_ends = splitting_of({"train": train, "validation": validation}, None, NOW)
    assert split(table, by_clock) == split(table, by_ends) == ["train"] * 334 + ["validation"] * 31
    shares = splitting_of({"validation": 0.2}, None, NOW, time_col="asked_at").pinned(table, NOW, "asked_at")
    assert "split: {validation: 0.2} with time_col: asked_at" in told
    assert split(table, shares).count("validation") == 73


def test_the_split_to_train_on_and_a_single_month_are_told_too():
    table = rows(datetime(2019, 1, 1, tzinfo=UTC), 20)
    with pytest.raises(UserError, match=r"'train' has no rows: it takes 'asked_at' to before 2019-01-01.*Land more"):
        split(table, Splitting(bounds=TimeSplit().bounds(datetime(2019, 2, 3, tzinfo=UTC))))


def test_rows_of_which_none_can_be_used_are_told():
    table = rows(datetime(2019, 1, 1, tzinfo=UTC), 20)
    early = datetime(2018, 1, 1, tzinfo=UTC)
    with pytest.raises(
        UserError, match=r"None of the 20 rows can be used at 2018-01-01 00:00: 'asked_at' is from 2019"
    ):
        usable_rows(PLAN, table, early, Splitting(bounds=TimeSplit().bounds(early)))
    assert usable_rows(PLAN, table.slice(0, 0), early, Splitting(split_col="sold")).num_rows == 0


def test_the_clock_is_shown_set_and_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MOSAIC_STATE", raising=False)
    root = tmp_path / "old_days"
    make_project(root)

    def clock(*words: str, exit_code: int = 0) -> dict[str, object]:
        outcome = CliRunner().invoke(app, ["clock", *words, "--project", str(root), "--output", "json"])
        assert outcome.exit_code == exit_code, outcome.output
        return json.loads(outcome.stdout)

    assert clock()["simulated"] is False
    assert clock("2020-01-01") == {"now_utc": "2020-01-01T00:00:00+00:00", "simulated": True}
    assert clock("2020-01-01T12:00:00+02:00")["now_utc"] == "2020-01-01T10:00:00+00:00"
    assert now_utc(root / ".mosaic") == datetime(2020, 1, 1, 10, tzinfo=UTC)
    said = CliRunner().invoke(app, ["status", "--project", str(root)]).stdout
    assert "2020-01-01T10:00:00+00:00, simulated" in said
    assert "'soon' is no time" in clock("soon", exit_code=1)["message"]
    assert "exclude each other" in clock("2020-01-01", "--wall", exit_code=1)["message"]
    assert clock("--wall")["simulated"] is False
    assert not (root / ".mosaic" / "clock.json").exists()
