"""Landed files and the lake on a server that speaks S3: the same rows, each once, and errors without a secret."""

import json
import multiprocessing
import os
import signal
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from dagster.components.testing import create_defs_folder_sandbox

from mosaic_assets.tables.evolution import columns_of
from mosaic_assets.tables.ingest import ingest
from mosaic_assets.tables.landing import landing_of
from mosaic_assets.tables.ledger import Ledger
from mosaic_assets.tables.source import FileSource
from mosaic_resources.delta.changes import changes
from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.lake import Lake
from mosaic_resources.delta.rewrite import optimize
from mosaic_resources.delta.vacuum import vacuum
from mosaic_resources.delta.writers import DeltaRsWriter
from mosaic_resources.errors import DependencyError, UserError
from mosaic_resources.objects.folder import ObjectFolder
from mosaic_resources.seams import Seams
from mosaic_resources.settings.references import resolved_options
from mosaic_resources.settings.settings import load_settings

CHILDREN = multiprocessing.get_context("forkserver")
Bucket = tuple[str, dict[str, str]]


@pytest.fixture(params=["bucket", "container"])
def any_store(request: pytest.FixtureRequest) -> Bucket:
    made: Bucket = request.getfixturevalue(request.param)
    return made


def store(bucket: Bucket) -> Any:
    from obstore.store import from_url

    options = resolved_options({name: text for name, text in bucket[1].items() if "allow_http" not in name}, "test")
    return from_url(bucket[0], config=options, client_options={"allow_http": True})  # type: ignore[arg-type]


def land(bucket: Bucket, path: str, *values: int) -> None:
    import obstore

    obstore.put(store(bucket), path, ("a\n" + "".join(f"{value}\n" for value in values)).encode())


def lake_of(bucket: Bucket, folder: Path) -> Lake:
    if bucket[0].startswith("abfs"):  # Azurite passes over startFrom, by which newer commits are found.
        return Lake(f"{folder}/lake", DeltaRsWriter())
    options = resolved_options(bucket[1], "test")
    return Lake(f"{bucket[0]}/lake", DeltaRsWriter(options), options)


def run(bucket: Bucket, folder: Path, barrier: Any = lambda name: None, **told: Any) -> Any:
    landing, pattern = landing_of("/nowhere", f"{bucket[0]}/in/*.csv", bucket[1], folder / "scratch", "raw/t")
    return ingest(
        lake_of(bucket, folder), Ledger(folder / "ingest.db"), "raw/t", landing, pattern,
        source=FileSource(columns_of({"a": "bigint"}, "test")), now_utc=datetime(2024, 1, 1, tzinfo=UTC),
        commit=Commit("raw/t"), barrier=barrier, **told,
    )  # fmt: skip


def stored(bucket: Bucket, folder: Path) -> list[tuple[str, int]]:
    rows = lake_of(bucket, folder).read("raw/t")
    return sorted(zip(rows["_source_file"].to_pylist(), rows["a"].to_pylist(), strict=True))


def test_only_new_files_are_read_and_changed_ones_again(any_store: Bucket, tmp_path: Path):
    land(any_store, "in/1.csv", 1, 2)
    land(any_store, "in/2024/2.csv", 3)
    land(any_store, "in/.hidden.csv", 9)
    land(any_store, "in/half.csv.part", 9)
    land(any_store, "elsewhere/3.csv", 9)
    first = run(any_store, tmp_path)
    assert (first.files, run(any_store, tmp_path).files) == (("1.csv", "2024/2.csv"), ())
    land(any_store, "in/1.csv", 1, 5)
    (tmp_path / "ingest.db").rename(tmp_path / "kept.db")
    assert run(any_store, tmp_path).files == ()  # A lost ledger is rebuilt from the table.
    (tmp_path / "kept.db").rename(tmp_path / "ingest.db")
    assert run(any_store, tmp_path, changed_files="reload").reloaded == ("1.csv",)
    assert stored(any_store, tmp_path) == [("1.csv", 1), ("1.csv", 5), ("2024/2.csv", 3)]
    assert list((tmp_path / "scratch").iterdir()) == []


def run_and_die(bucket: Bucket, folder: str, point: str) -> None:
    os.environ["S3_SECRET"] = "hushhush"
    run(bucket, Path(folder), lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == point else None)


@pytest.mark.parametrize("point", ["listed", "parsed", "committed"])
def test_an_ingest_killed_at(bucket: Bucket, tmp_path: Path, point: str):
    land(bucket, "in/1.csv", 1)
    run(bucket, tmp_path)
    land(bucket, "in/2.csv", 2, 3)
    child = CHILDREN.Process(target=run_and_die, args=(bucket, str(tmp_path), point))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    run(bucket, tmp_path)
    run(bucket, tmp_path)
    assert stored(bucket, tmp_path) == [("1.csv", 1), ("2.csv", 2), ("2.csv", 3)]


@pytest.mark.parametrize(
    ("address", "option", "error", "match"),
    [
        (
            None,
            {"aws_secret_access_key": "${S3_WRONG}"},
            UserError,
            "raw/t: The store refuses the credential.*Check s3://bucket",
        ),
        (
            None,
            {"aws_secret_access_key": "wr0ng"},
            UserError,
            r"The option 'aws_secret_access_key' holds a secret. Write \$\{NAME\}",
        ),
        (None, {"aws_secret_access_key": "${S3_NONE}"}, UserError, "The environment variable 'S3_NONE' is not set"),
        (None, {"aws_endpoint": "http://127.0.0.1:1"}, DependencyError, "The store cannot be read"),
        (None, {"aws_no_such_option": "1"}, UserError, "The store cannot be opened.*aws_no_such_option"),
        ("s3://nobucket/*.csv", {}, UserError, "The store has no such thing.*NoSuchBucket"),
        ("ftp://host/*.csv", {}, UserError, "'ftp://' is no object store. Known: s3"),
    ],
)
def test_what_is_refused_is_told_without_the_secret(bucket, tmp_path, monkeypatch, address, option, error, match):
    monkeypatch.setenv("S3_WRONG", "wr0ng")

    def look() -> None:
        landing, pattern = landing_of("/", address or f"{bucket[0]}/*.csv", {**bucket[1], **option}, tmp_path, "raw/t")
        landing.discover(pattern)

    with pytest.raises(error, match=match) as caught:
        look()
    told = "".join(traceback.format_exception(caught.value))
    assert "wr0ng" not in told
    assert "hushhush" not in told


def test_an_object_that_leads_out_of_its_folder_is_not_copied(bucket: Bucket, tmp_path: Path):
    with pytest.raises(UserError, match=r"'\.\./x' leads out of its folder"):
        ObjectFolder(bucket[0], bucket[1], "raw/t").copy(["../x"], tmp_path / "copies")


def test_a_file_that_is_no_csv_is_named_by_its_address(bucket: Bucket, tmp_path: Path):
    import obstore

    obstore.put(store(bucket), "in/1.csv", b"\x89PNG\r\n\x1a\n\x00\xff")
    with pytest.raises(UserError, match=rf"{bucket[0]}/in/1\.csv: The file is no readable CSV"):
        run(bucket, tmp_path)
    assert not lake_of(bucket, tmp_path).exists("raw/t")


def test_a_lake_on_the_store_does_all_that_a_local_one_does(bucket: Bucket, tmp_path: Path):
    lake = lake_of(bucket, tmp_path)
    for number in range(3):
        lake.write("t", pa.table({"k": [number], "v": ["a"]}), Commit("app", version=number + 1), mode="append")
    assert lake.write("t", pa.table({"k": [2], "v": ["a"]}), Commit("app", version=3), mode="append") == lake.version(
        "t"
    )
    lake.merge("t", pa.table({"k": [1, 5], "v": ["b", "c"]}), ["k"], Commit("merge"))
    before = lake.version("t")
    lake.write("t", pa.table({"k": [5], "v": ["d"]}), Commit("replace"), predicate="k = 5")
    optimize(lake, "t", Commit("upkeep"), ["k"])
    vacuum(lake, "t", Commit("upkeep"), timedelta(0), {})
    rows = {row["k"]: row["v"] for row in lake.read("t").to_pylist()}
    assert rows == {0: "a", 1: "b", 2: "a", 5: "d"}
    assert lake.num_rows("t") == 4
    assert [entry["version"] for entry in lake.history("t")] == list(range(lake.version("t"), -1, -1))
    kinds = changes(lake, "t", before + 1, before + 1)["_change_type"].to_pylist()
    assert sorted(kinds) == ["delete", "insert"]


DEFS = """
type: mosaic_assets.tables.SourceTableComponent
attributes:
  key: raw/events
  path: events/*.csv
---
type: mosaic_assets.tables.SqlTableComponent
attributes:
  key: tables/events
  sql: events.sql
"""


def test_landing_lake_and_engine_on_the_store_by_settings_alone(any_store: Bucket):
    bucket = any_store
    secret = os.environ["AZURE_KEY" if bucket[0].startswith("abfs") else "S3_SECRET"]
    land(bucket, "in/events/1.csv", 1, 2)
    variables = {
        "MOSAIC_LAKE": f"{bucket[0]}/lake", "MOSAIC_LANDING": f"{bucket[0]}/in",
        "MOSAIC_STORAGE_OPTIONS": json.dumps(bucket[1]),
    }  # fmt: skip
    with create_defs_folder_sandbox() as sandbox:
        root, folder = sandbox.project_root, sandbox.defs_folder_path / "story"
        (root / "pyproject.toml").write_text("[tool.dg]\n")
        folder.mkdir(parents=True)
        (folder / "defs.yaml").write_text(DEFS)
        (folder / "events.sql").write_text("select a + 1 as b from raw.events")
        seams = Seams(load_settings(root, environ=variables))
        assert secret not in repr(seams.settings)
        with sandbox.build_all_defs() as definitions:
            assets = [each for each in definitions.assets if isinstance(each, dg.AssetsDefinition)]
            result = dg.materialize(assets, resources={"mosaic": SimpleNamespace(seams=seams)})
        assert result.success
        assert sorted(seams.lake.read("tables/events")["b"].to_pylist()) == [2, 3]
        assert (bucket[0], "in/events/1.csv") in seams.outbox.datasets()
        seams.engine.close()
        everything = [file.read_bytes() for file in root.rglob("*") if file.is_file()]
        assert not any(secret.encode() in content for content in everything)


def test_an_object_that_is_put_again_with_the_same_size_is_seen(any_store: Bucket):
    folder = ObjectFolder(any_store[0], any_store[1], "raw/t")
    land(any_store, "1.csv", 1)
    (before,) = folder.list()
    land(any_store, "1.csv", 2)
    (after,) = folder.list()
    assert before.size_bytes == after.size_bytes
    assert before.mark != after.mark
