"""The context manager that steps run in: it records, and it never gets in the way."""

import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mosaic_assets.lineage.names import landed_file_use
from mosaic_assets.lineage.record import DatasetUse
from mosaic_assets.lineage.step import LOST, MAX_FILES, step
from mosaic_assets.lineage.stored import load
from mosaic_resources.outbox.outbox import Outbox


def test_step_shows_what_was_said(outbox: Outbox, story: SimpleNamespace) -> None:
    with step(story.identity("tables/flights"), outbox) as said:
        said.reads(story.table("raw/flights", 3))
        said.reads(story.table("raw/flights", 3))
        said.reads(story.table("raw/flights", 4))
        said.wrote(story.table("tables/flights", 7))
        said.wrote(story.table("tables/flights", 8))
        assert [use.version for use in said.inputs] == ["3", "4"]
        assert [use.version for use in said.outputs] == ["8"]
    assert [event.event_type for event in outbox.events()] == ["START", "COMPLETE"]


@pytest.mark.parametrize("damage", ["folder is a file", "not a database", "read-only"])
def test_step_goes_on_without_its_outbox(
    damage: str,
    tmp_path: Path,
    story: SimpleNamespace,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mosaic_assets.lineage.step._warned", {})
    file = tmp_path / "state" / "outbox.db"
    if damage == "folder is a file":
        file.parent.write_text("")
    else:
        file.parent.mkdir()
        file.write_bytes(b"garbage" * 1000 if damage == "not a database" else b"")
    if damage == "read-only":
        file.unlink()
        file.mkdir()  # root may write anything but a folder
    before, ran = sum(LOST.values()), 0
    with caplog.at_level(logging.WARNING, "mosaic.lineage"):
        for _ in range(3):
            with step(story.identity("a/b"), Outbox(file)) as said:
                said.reads(DatasetUse("file", "/x"))
                ran += 1
    assert ran == 3
    assert sum(LOST.values()) - before == 6
    assert len(caplog.records) == 1
    assert "A lineage event was lost" in caplog.text


def test_step_hands_on_the_error_of_its_body(story: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught:  # noqa: SIM117
        with step(story.identity("a/b"), Outbox(tmp_path / "state" / "outbox.db")):
            raise error
    assert caught.value is error


def test_step_keeps_what_cannot_be_json(outbox: Outbox, story: SimpleNamespace) -> None:
    with step(story.identity("a/b"), outbox) as said:
        said.wrote(
            DatasetUse("file", "/x", facets={"mosaic_model": {"metrics": {"auc": float("nan")}, "path": Path("/p")}})
        )
    written = load(outbox.events()[-1].body).record.outputs[0]
    assert written.facets["mosaic_model"] == {"metrics": {"auc": None}, "path": "/p"}


def test_step_names_folders_where_files_are_many(outbox: Outbox, story: SimpleNamespace) -> None:
    with step(story.identity("raw/events"), outbox) as said:
        for number in range(MAX_FILES + 1):
            said.reads(landed_file_use(f"/landing/{number % 2}/{number}.json"))
        said.reads(story.table("raw/other", 1))
    read = load(outbox.events()[-1].body).record.inputs
    assert [use.name for use in read] == ["/lake/raw/other", "/landing/0", "/landing/1"]


def test_step_imports_nothing_heavy() -> None:
    code = (
        "import sys, tempfile, pathlib\n"
        "from mosaic_assets.lineage.step import step, StepIdentity\n"
        "from mosaic_resources.outbox.outbox import Outbox\n"
        "outbox = Outbox(pathlib.Path(tempfile.mkdtemp()) / 'o.db')\n"
        "with step(StepIdentity('r', 'a', None, None, None, 'v'), outbox): pass\n"
        "print([m for m in ('openlineage', 'httpx', 'sqlglot', 'dagster', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
