"""A raw table that follows a Delta table of another lake: versions and changes, each once."""

import multiprocessing
import os
import signal
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from dagster.components.testing import create_defs_folder_sandbox
from deltalake import DeltaTable, write_deltalake

from mosaic_assets.tables.foreign.load import follow
from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.lake import Lake
from mosaic_resources.delta.writers import DeltaRsWriter
from mosaic_resources.errors import DependencyError, UserError
from mosaic_resources.seams import Seams
from mosaic_resources.settings.references import resolved_options
from mosaic_resources.settings.settings import load_settings

CHILDREN = multiprocessing.get_context("forkserver")
FEED = {"delta.enableChangeDataFeed": "true"}


def put(address: str, *keys: int, value: str = "a", mode: Any = "append", **told: Any) -> None:
    rows = pa.table({"k": pa.array(keys, pa.int64()), "v": pa.array([value] * len(keys), pa.string())})
    write_deltalake(address, rows, mode=mode, configuration=FEED, **told)


def bring(lake: Lake, address: str, changes: bool, barrier: Any = lambda name: None, **options: str) -> Any:
    now = datetime(2024, 1, 1, tzinfo=UTC)
    return follow(lake, "raw/t", address, options, changes=changes, now_utc=now, commit=Commit("t"), barrier=barrier)


def keys(lake: Lake) -> list[int]:
    return sorted(lake.read("raw/t")["k"].to_pylist())


def test_each_new_version_replaces_the_table(tmp_path: Path, lake: Lake):
    other = str(tmp_path / "other")
    put(other, 1, 2)
    assert bring(lake, other, changes=False).num_rows == 2
    assert bring(lake, other, changes=False).num_rows == 0
    DeltaTable(other).delete("k = 1")
    put(other, 3)
    report = bring(lake, other, changes=False)
    assert (report.source_version, keys(lake)) == (2, [2, 3])
    assert set(lake.read("raw/t")["_source_file"].to_pylist()) == {f"{other}@2"}


def test_changes_are_appended_with_what_became_of_each_row(tmp_path: Path, lake: Lake):
    other = str(tmp_path / "other")
    put(other, 1, 2)
    assert bring(lake, other, changes=True).num_rows == 2
    DeltaTable(other).delete("k = 1")
    DeltaTable(other).update(new_values={"v": "b"}, predicate="k = 2")
    put(other, 3)
    assert bring(lake, other, changes=True).num_rows == 4
    assert bring(lake, other, changes=True).num_rows == 0
    told = [(row["_commit_version"], row["_change_type"], row["k"], row["v"]) for row in lake.read("raw/t").to_pylist()]
    assert sorted(told) == [
        (0, "insert", 1, "a"), (0, "insert", 2, "a"), (1, "delete", 1, "a"), (2, "update_postimage", 2, "b"),
        (2, "update_preimage", 2, "a"), (3, "insert", 3, "a"),
    ]  # fmt: skip


def test_files_that_are_rewritten_are_no_change_and_lose_none_that_follow(tmp_path: Path, lake: Lake):
    other = str(tmp_path / "other")
    put(other, 1)
    put(other, 2)
    bring(lake, other, changes=True)
    DeltaTable(other).optimize.compact()
    before = lake.version("raw/t")
    assert bring(lake, other, changes=True).version == before
    put(other, 3)
    assert bring(lake, other, changes=True).num_rows == 1
    assert keys(lake) == [1, 2, 3]


def test_a_new_column_follows(tmp_path: Path, lake: Lake):
    other = str(tmp_path / "other")
    put(other, 1)
    bring(lake, other, changes=True)
    more = pa.table({"k": pa.array([2], pa.int64()), "v": ["a"], "w": [pa.scalar([1.5])]})
    write_deltalake(other, more, mode="append", schema_mode="merge")
    bring(lake, other, changes=True)
    assert sorted((row["k"], row["w"]) for row in lake.read("raw/t").to_pylist()) == [(1, None), (2, [1.5])]


def test_what_cannot_be_followed_is_told_and_writes_nothing(tmp_path: Path, lake: Lake):
    with pytest.raises(UserError, match="There is no Delta table"):
        bring(lake, str(tmp_path / "nowhere"), changes=False)
    other = str(tmp_path / "other")
    write_deltalake(other, pa.table({"k": pa.array([1], pa.int64())}))
    with pytest.raises(UserError, match="does not keep its changes.*Set delta.enableChangeDataFeed"):
        bring(lake, other, changes=True)
    assert not lake.exists("raw/t")
    anew = str(tmp_path / "anew")
    for number in range(3):
        put(anew, number)
    other_lake = Lake(str(tmp_path / "second"), DeltaRsWriter())
    bring(other_lake, anew, changes=False)
    for file in (tmp_path / "anew" / "_delta_log").iterdir():
        file.unlink()
    put(anew, 9)
    with pytest.raises(UserError, match="at version 0, but version 2 was read: it was made anew"):
        bring(other_lake, anew, changes=False)
    assert keys(other_lake) == [0, 1, 2]


def test_changes_whose_files_were_removed_are_told(tmp_path: Path, lake: Lake):
    other = str(tmp_path / "other")
    put(other, 1)
    bring(lake, other, changes=True)
    put(other, 2)
    DeltaTable(other).delete("k = 2")
    for file in (tmp_path / "other" / "_change_data").iterdir():
        file.unlink()
    with pytest.raises(DependencyError, match="changes from version 1 to 2 cannot be read.*Were its files vacuumed"):
        bring(lake, other, changes=True)
    assert keys(lake) == [1]


def run_and_die(root: str, address: str, point: str) -> None:
    lake = Lake(root, DeltaRsWriter())
    bring(lake, address, True, lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == point else None)


@pytest.mark.parametrize("point", ["read", "committed"])
def test_a_load_killed_at(tmp_path: Path, lake: Lake, point: str):
    other = str(tmp_path / "other")
    put(other, 1)
    bring(lake, other, changes=True)
    put(other, 2)
    child = CHILDREN.Process(target=run_and_die, args=(lake.root, other, point))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    bring(lake, other, changes=True)
    assert keys(lake) == [1, 2]


def test_a_table_on_an_object_store_is_followed(bucket: tuple[str, dict[str, str]], lake: Lake):
    options = resolved_options(bucket[1], "test")
    put(f"{bucket[0]}/other", 1, storage_options=options)
    bring(lake, f"{bucket[0]}/other", True, **options)
    put(f"{bucket[0]}/other", 2, storage_options=options)
    bring(lake, f"{bucket[0]}/other", True, **options)
    assert keys(lake) == [1, 2]


def test_its_asset_shows_the_version_that_was_read(tmp_path: Path):
    other = str(tmp_path / "other")
    put(other, 1)
    put(other, 2)
    with create_defs_folder_sandbox() as sandbox:
        folder = sandbox.defs_folder_path / "story"
        (sandbox.project_root / "pyproject.toml").write_text("[tool.dg]\n")
        folder.mkdir(parents=True)
        declared = f"type: mosaic_assets.tables.DeltaSourceComponent\nattributes: {{key: raw/t, address: {other}}}\n"
        (folder / "defs.yaml").write_text(declared)
        seams = Seams(load_settings(sandbox.project_root, environ={}))
        with sandbox.build_all_defs() as definitions:
            (asset,) = (each for each in definitions.assets if isinstance(each, dg.AssetsDefinition))
            result = dg.materialize([asset], resources={"mosaic": SimpleNamespace(seams=seams)})
        (event,) = result.get_asset_materialization_events()
        told = event.materialization.metadata
        assert (told["new_rows"].value, told["source_version"].value) == (2, 1)
        assert ("file", other) in seams.outbox.datasets()
