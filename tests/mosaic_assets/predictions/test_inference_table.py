import multiprocessing
import os
import signal
import time
from pathlib import Path

import orjson
import pytest

from mosaic_assets.predictions.inference_table import INFERENCE_SCHEMA, drain, to_rows
from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.lake import Lake
from mosaic_resources.delta.writers import DeltaRsWriter
from mosaic_resources.spool.frame import SpoolCorruptError
from mosaic_resources.spool.writer import SpoolWriter

TABLE = "predictions/flights/requests"
COMMIT = Commit("drain", run_id="run", asset=TABLE)


def record(i: int) -> bytes:
    return orjson.dumps(
        {
            "request_id": f"id-{i}",
            "client_request_id": None,
            "timestamp_ms": 1372680000000 + i * 3_600_000,
            "status_code": 200,
            "execution_duration_ms": 0.5,
            "request": "{}",
            "response": "{}",
            "served_entity_id": "late/1",
            "sampling_fraction": 1.0,
            "features": "[]",
            "model_version": "1",
        }
    )


def log(root: Path, begin: int, end: int, **options: int) -> None:
    writer = SpoolWriter(root, "flights", **options)
    for i in range(begin, end):
        writer.append(record(i))
    writer.close()


def ids(lake: Lake) -> list[str]:
    return sorted(lake.read(TABLE)["request_id"].to_pylist())


def expected(count: int) -> list[str]:
    return sorted(f"id-{i}" for i in range(count))


def test_rows_have_the_named_columns_and_the_utc_day() -> None:
    rows = to_rows([record(0), record(13)])
    assert rows.schema.equals(INFERENCE_SCHEMA)
    assert rows["date"].to_pylist() == ["2013-07-01", "2013-07-02"]


def test_each_drain_takes_what_is_new(lake: Lake, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    assert drain(lake, spool, "flights", TABLE, COMMIT).num_rows == 0
    log(spool, 0, 40)
    assert drain(lake, spool, "flights", TABLE, COMMIT).num_rows == 40
    version = lake.version(TABLE)
    assert drain(lake, spool, "flights", TABLE, COMMIT).num_rows == 0
    assert lake.version(TABLE) == version
    log(spool, 40, 50)
    assert drain(lake, spool, "flights", TABLE, COMMIT).num_rows == 10
    assert ids(lake) == expected(50)
    assert lake.open(TABLE).metadata().partition_columns == ["date"]
    assert lake.history(TABLE)[0]["run_id"] == "run"


def test_several_segments_and_workers_and_removal(lake: Lake, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    holder = SpoolWriter(spool, "flights")
    log(spool, 0, 60, segment_bytes=2000)
    holder.append(record(60))
    holder.close()
    drained = drain(lake, spool, "flights", TABLE, COMMIT, remove_drained=True)
    assert (drained.num_rows, drained.num_segments) == (61, len(drained.removed) + 2)
    assert not any(path.exists() for path in drained.removed)
    log(spool, 61, 70, segment_bytes=2000)
    drain(lake, spool, "flights", TABLE, COMMIT, remove_drained=True)
    assert ids(lake) == expected(70)


def test_torn_tail_waits_until_it_is_whole(lake: Lake, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    log(spool, 0, 5)
    file = next((spool / "flights/worker-0").glob("*.seg"))
    whole = file.read_bytes()
    for cut in (0, 5, len(whole) - 300, len(whole) - 1, len(whole)):
        file.write_bytes(whole[:cut])
        drain(lake, spool, "flights", TABLE, COMMIT)
    assert ids(lake) == expected(5)


def test_damage_is_told_after_everything_good_is_in_the_table(lake: Lake, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    log(spool, 0, 20, segment_bytes=1500)
    first = min((spool / "flights/worker-0").glob("*.seg"))
    data = bytearray(first.read_bytes())
    data[-10] ^= 1
    first.write_bytes(data)
    for _ in range(2):
        with pytest.raises(SpoolCorruptError, match=first.name):
            drain(lake, spool, "flights", TABLE, COMMIT)
    assert len(ids(lake)) == len(set(ids(lake))) == 19


def _drain_forever(root: str, spool: str) -> None:
    lake = Lake(root, DeltaRsWriter())
    while True:
        drain(lake, Path(spool), "flights", TABLE, COMMIT)


def test_two_drainers_at_once_and_kills_neither_lose_nor_double(lake: Lake, tmp_path: Path) -> None:
    spool, context = tmp_path / "spool", multiprocessing.get_context("forkserver")
    log(spool, 0, 1)
    drain(lake, spool, "flights", TABLE, COMMIT)
    writer, sent = SpoolWriter(spool, "flights", segment_bytes=20_000), 1
    for _ in range(2):
        drainers = [context.Process(target=_drain_forever, args=(lake.root, str(spool))) for _ in range(2)]
        for drainer in drainers:
            drainer.start()
        for _ in range(40):
            writer.append(record(sent))
            sent += 1
            time.sleep(0.05)
        for drainer in drainers:
            assert drainer.pid is not None
            os.kill(drainer.pid, signal.SIGKILL)
            drainer.join()
    writer.close()
    drain(lake, spool, "flights", TABLE, COMMIT)
    assert ids(lake) == expected(sent)
