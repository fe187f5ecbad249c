"""What is written step by step is what is written at once, whatever came in between."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from mosaic_assets.features import incremental
from mosaic_assets.features.historical import known_times
from mosaic_assets.features.incremental import materialize_incremental, news
from mosaic_assets.features.materialize import get_online_features, materialize, to_us
from mosaic_assets.features.views import Entity, FeatureRef, FeatureService, FeatureView, Field
from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.rewrite import optimize
from mosaic_resources.online.lmdb_store import LmdbStore
from mosaic_resources.online.memory import MemoryStore

START = datetime(2024, 1, 1, tzinfo=UTC)
VIEW = FeatureView("v", (Entity("e", ("k",)),), (Field("x", "float64"), Field("s", "string", 12)), "features/v")
SERVICE = FeatureService.of("s", [VIEW], [FeatureRef("v", "*")])
KEYS = pa.table({"k": [f"k{i}" for i in range(8)]})


def rows(rng, count, day):
    """Rows whose events lie before ``day`` and become known around it, some only days later."""
    event = [START + timedelta(days=day, minutes=int(m)) for m in -rng.integers(0, 4000, count)]
    known = [at + timedelta(minutes=int(m)) for at, m in zip(event, rng.integers(0, 8000, count), strict=True)]
    time = pa.timestamp("us", tz="UTC")
    values = {"x": rng.normal(size=count), "s": [f"{day}-{i}" for i in range(count)]}
    keys = [f"k{i}" for i in rng.integers(0, 8, count)]
    return pa.table({"k": keys, "event_ts": pa.array(event, time), "known_ts": pa.array(known, time), **values})


def at_once(lake, end):
    store = MemoryStore()
    table = lake.read(VIEW.source)
    materialize(store, SERVICE, "v", table.filter(pa.array(known_times(VIEW, table)[1] <= to_us(end))))
    return get_online_features(store, SERVICE, KEYS, end)


@pytest.mark.parametrize("seed", range(12))
def test_step_by_step_is_at_once(lake, seed, tmp_path):
    rng = np.random.default_rng(seed)
    store = LmdbStore(tmp_path / "online")
    lake.write(VIEW.source, rows(rng, 20, 0), Commit("first"), mode="append")
    for day in range(1, 9):
        match rng.integers(0, 5):
            case 0:  # A view that is computed anew replaces its whole table.
                lake.write(VIEW.source, pa.concat_tables([lake.read(VIEW.source), rows(rng, 9, day)]), Commit("all"))
            case 1:
                optimize(lake, VIEW.source, Commit("upkeep"))
            case 2:
                pass  # Time goes on, and rows become known.
            case _:
                lake.write(VIEW.source, rows(rng, 9, day), Commit("more"), mode="append")
        end = START + timedelta(days=day)
        materialize_incremental(store, lake, SERVICE, VIEW, end)
        assert get_online_features(store, SERVICE, KEYS, end).equals(at_once(lake, end))
        assert materialize_incremental(store, lake, SERVICE, VIEW, end) == 0


def test_only_what_is_new_is_written_again(lake):
    rng = np.random.default_rng(0)
    lake.write(VIEW.source, rows(rng, 200, 0), Commit("first"), mode="append")
    seen, since = lake.version(VIEW.source), START + timedelta(days=30)
    added = rows(rng, 7, 1)
    lake.write(VIEW.source, added, Commit("more"), mode="append")
    optimize(lake, VIEW.source, Commit("upkeep"))
    found = news(lake, VIEW, lake.version(VIEW.source), (seen, to_us(since)))
    assert sorted(found["s"].to_pylist()) == sorted(added["s"].to_pylist())


def test_killed_before_it_remembers_it_does_it_again(lake, monkeypatch):
    store, end = MemoryStore(), START + timedelta(days=2)
    lake.write(VIEW.source, rows(np.random.default_rng(0), 50, 0), Commit("first"), mode="append")
    with monkeypatch.context() as patch:
        patch.setattr(incremental, "materialize", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            materialize_incremental(store, lake, SERVICE, VIEW, end)
    assert materialize_incremental(store, lake, SERVICE, VIEW, end) > 0
    assert get_online_features(store, SERVICE, KEYS, end).equals(at_once(lake, end))


def test_other_features_begin_anew(lake):
    store, end = MemoryStore(), START + timedelta(days=2)
    lake.write(VIEW.source, rows(np.random.default_rng(0), 50, 0), Commit("first"), mode="append")
    materialize_incremental(store, lake, SERVICE, VIEW, end)
    fewer = FeatureService.of("s", [VIEW], [FeatureRef("v", "x")])
    assert materialize_incremental(store, lake, fewer, VIEW, end) > 0


def test_time_never_goes_back(lake):
    store, end = MemoryStore(), START + timedelta(days=2)
    lake.write(VIEW.source, rows(np.random.default_rng(0), 50, 0), Commit("first"), mode="append")
    materialize_incremental(store, lake, SERVICE, VIEW, end)
    assert materialize_incremental(store, lake, SERVICE, VIEW, START) == 0
    assert get_online_features(store, SERVICE, KEYS, end).equals(at_once(lake, end))
