"""Incremental ingest: each row exactly once, whatever is killed or lost."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mosaic_assets.tables.evolution import Columns
from mosaic_assets.tables.ingest import discover, ingest
from mosaic_assets.tables.ledger import Ledger
from mosaic_assets.tables.source import FileSource
from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.lake import Lake
from mosaic_resources.delta.writers import DeltaRsWriter
from mosaic_resources.errors import UserError

SCHEMA = {"a": "bigint", "b": "string"}


def run(folder: Path, ledger: Ledger | None = None):
    return ingest(
        Lake(str(folder / "lake"), DeltaRsWriter()),
        ledger or Ledger(folder / "ingest.db"),
        "raw/t",
        folder / "landing",
        "t/*.csv",
        source=FileSource(Columns(SCHEMA, {})),
        now_utc=datetime(2013, 1, 1, tzinfo=UTC),
        commit=Commit("raw/t"),
    )


def land(folder: Path, name: str, *values: int) -> None:
    file = folder / "landing" / "t" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("a,b\n" + "".join(f"{value},x\n" for value in values))


def values(folder: Path) -> list[int]:
    return sorted(Lake(str(folder / "lake"), DeltaRsWriter()).read("raw/t")["a"].to_pylist())


def test_only_new_files_are_read(tmp_path):
    land(tmp_path, "1.csv", 1, 2)
    first = run(tmp_path)
    again = run(tmp_path)
    land(tmp_path, "2.csv", 3)
    second = run(tmp_path)
    assert (first.num_rows, again.num_rows, second.num_rows) == (2, 0, 1)
    assert (again.files, second.files, second.num_known_files) == ((), ("t/2.csv",), 1)
    assert values(tmp_path) == [1, 2, 3]


def test_rows_say_where_they_come_from(tmp_path):
    land(tmp_path, "1.csv", 7, 8)
    run(tmp_path)
    rows = Lake(str(tmp_path / "lake"), DeltaRsWriter()).read("raw/t").to_pylist()
    assert [(row["_source_file"], row["_source_row"]) for row in rows] == [("t/1.csv", 1), ("t/1.csv", 2)]
    assert rows[0]["_ingested_at"] == datetime(2013, 1, 1, tzinfo=UTC)


def test_a_lost_ledger_is_rebuilt_from_the_table(tmp_path):
    land(tmp_path, "1.csv", 1)
    run(tmp_path)
    (tmp_path / "ingest.db").unlink()
    land(tmp_path, "2.csv", 2)
    assert run(tmp_path).files == ("t/2.csv",)
    assert values(tmp_path) == [1, 2]


def test_a_changed_file_is_reported_and_not_read_again(tmp_path):
    land(tmp_path, "1.csv", 1)
    run(tmp_path)
    land(tmp_path, "1.csv", 1, 5)
    report = run(tmp_path)
    assert (report.changed, report.num_rows) == (("t/1.csv",), 0)


class DiesBeforeSettling(Ledger):
    """A ledger whose process is killed after the commit, before the files are recorded."""

    def settle(self, table, batch, files):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("point", ["reading", "settling"])
def test_killed_ingest_is_made_good_by_the_next_run(tmp_path, point):
    land(tmp_path, "1.csv", 1)
    run(tmp_path)
    land(tmp_path, "2.csv", 2, 3)
    code = (
        "import os, signal, sys, pathlib; sys.path.insert(0, sys.argv[2])\n"
        "import test_ingest as t\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "if sys.argv[3] == 'reading': t.FileSource.read = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
        "t.run(folder, t.DiesBeforeSettling(folder / 'ingest.db'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent), point], timeout=120, check=False
    )
    assert done.returncode == -signal.SIGKILL
    run(tmp_path)
    run(tmp_path)
    assert values(tmp_path) == [1, 2, 3]


def test_half_written_files_are_passed_over(tmp_path):
    land(tmp_path, "1.csv.part", 1)
    land(tmp_path, ".2.csv", 1)
    assert discover(tmp_path / "landing", "t/*.csv*") == {}


def test_a_missing_landing_folder_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match="landing folder does not exist.*MOSAIC_LANDING"):
        discover(tmp_path / "landing", "*.csv")


def test_a_file_without_a_declared_column_writes_nothing(tmp_path):
    land(tmp_path, "1.csv", 1)
    (tmp_path / "landing" / "t" / "2.csv").write_text("a\n1\n")
    with pytest.raises(UserError, match="2.csv: Column 'b' is declared but not in the file"):
        run(tmp_path)
    assert not Lake(str(tmp_path / "lake"), DeltaRsWriter()).exists("raw/t")


def test_an_empty_file_blocks_no_other_and_is_read_when_it_holds_something(tmp_path):
    land(tmp_path, "1.csv", 1)
    (tmp_path / "landing" / "t" / "2.csv").touch()
    first = run(tmp_path)
    assert (first.files, first.empty, values(tmp_path)) == (("t/1.csv", "t/2.csv"), ("t/2.csv",), [1])
    again = run(tmp_path)
    assert (again.files, again.version) == ((), first.version)
    land(tmp_path, "2.csv", 2)
    assert run(tmp_path).files == ("t/2.csv",)
    assert run(tmp_path).files == ()
    assert values(tmp_path) == [1, 2]


def test_a_file_that_is_no_csv_leaves_nothing_half_written(tmp_path):
    land(tmp_path, "1.csv", 1)
    run(tmp_path)
    land(tmp_path, "2.csv", 2)
    (tmp_path / "landing" / "t" / "3.csv").write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff")
    with pytest.raises(UserError, match=r"t/3\.csv: The file is no readable CSV"):
        run(tmp_path)
    assert values(tmp_path) == [1]
    (tmp_path / "landing" / "t" / "3.csv").unlink()
    assert run(tmp_path).files == ("t/2.csv",)
    assert values(tmp_path) == [1, 2]
