import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mosaic_assets.features.historical import get_historical_features
from mosaic_assets.features.materialize import get_online_features, layouts, materialize, push
from mosaic_assets.features.views import Entity, FeatureRef, FeatureService, FeatureView, Field
from mosaic_resources.errors import UnknownNameError, UserError
from mosaic_resources.online.lmdb_store import LmdbStore
from mosaic_resources.online.memory import MemoryStore

HOUR = 3_600_000_000
UTC_US = pa.timestamp("us", tz="UTC")
FIELDS = (
    Field("x", "float64"),
    Field("n", "int64"),
    Field("t", "timestamp"),
    Field("b", "bool"),
    Field("s", "string", 8),
)
LEG = Entity("leg", ("origin", "dest"))
PLANE = Entity("plane", ("tailnum",))
VIEWS = [
    FeatureView("leg", (LEG,), FIELDS, "features/leg", ttl=timedelta(hours=30)),
    FeatureView(
        "plane", (PLANE,), FIELDS[:2], "features/plane", created_timestamp_column=None, known_delay=timedelta(hours=1)
    ),
    FeatureView("plane_age", (PLANE,), FIELDS[:1], "features/plane_age"),
]
SERVICE = FeatureService.of("s", VIEWS, [FeatureRef(view.name, "*") for view in VIEWS])


def rows(view: FeatureView, count: int, rng: np.random.Generator) -> pa.Table:
    """Random rows with unique (key, event, known), NULLs, NaNs and late corrections."""
    event = rng.integers(0, 100, count) * HOUR
    known = event + rng.integers(0, 40, count) * HOUR
    values = rng.normal(size=count)
    values[rng.random(count) < 0.1] = np.nan
    columns: dict[str, pa.Array] = {
        key: pa.array([f"k{i}" for i in rng.integers(0, 4, count)]) for key in view.join_keys
    }
    columns |= {"event_ts": pa.array(event, UTC_US), "known_ts": pa.array(known, UTC_US)}
    made = {
        "x": pa.array(values, mask=rng.random(count) < 0.1),
        "n": pa.array(rng.integers(-5, 5, count), mask=rng.random(count) < 0.1),
        "t": pa.array(rng.integers(0, 10**15, count), UTC_US, mask=rng.random(count) < 0.1),
        "b": pa.array(rng.random(count) < 0.5, mask=rng.random(count) < 0.1),
        "s": pa.array([f"é{i}" for i in range(count)]),
    }
    table = pa.table(columns | {field.name: made[field.name] for field in view.schema})
    by = [*view.join_keys, "event_ts", *(["known_ts"] if view.created_timestamp_column else [])]
    first = pc.index_in(
        pa.array(range(count)),
        table.append_column("i", pa.array(range(count)))
        .group_by(by)
        .aggregate([("i", "min")])["i_min"]
        .combine_chunks(),
    )
    return table.filter(pc.is_valid(first))


def known_of(view: FeatureView, table: pa.Table) -> np.ndarray:
    column = (
        table["known_ts"] if view.created_timestamp_column else pc.add(table["event_ts"], pa.scalar(view.known_delay))
    )
    return np.asarray(pc.cast(column, pa.int64()))


def same(left: object, right: object) -> bool:
    both_nan = isinstance(left, float) and isinstance(right, float) and math.isnan(left) and math.isnan(right)
    return both_nan or left == right


@pytest.mark.parametrize("seed", range(3))
def test_online_equals_the_offline_join_at_every_moment(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    tables = {view.name: rows(view, 300, rng) for view in VIEWS}
    entity = pa.table({key: [f"k{i}" for i in rng.integers(0, 5, 20)] for key in ("origin", "dest", "tailnum")})
    store, pushed_to, num_values = LmdbStore(tmp_path), -1, 0
    for now in range(0, 150 * HOUR, 7 * HOUR):
        for view in VIEWS:
            known = known_of(view, tables[view.name])
            arrived = tables[view.name].filter(pa.array((known > pushed_to) & (known <= now)))
            push(store, [SERVICE], view.name, arrived.take(pa.array(rng.permutation(arrived.num_rows))))
        pushed_to = now
        at = pa.array([now] * entity.num_rows, UTC_US)
        offline = get_historical_features(entity.append_column("at", at), SERVICE, lambda view: tables[view.name], "at")
        online = get_online_features(store, SERVICE, entity, datetime.fromtimestamp(now / 1e6, UTC))
        for name in SERVICE.columns:
            pairs = zip(online[name].to_pylist(), offline[name].to_pylist(), strict=True)
            assert all(same(left, right) for left, right in pairs), (now, name)
            num_values += online[name].length() - online[name].null_count
    assert num_values > 500, "hardly anything was compared"
    store.close()


def test_full_incremental_and_shuffled_end_up_the_same() -> None:
    rng = np.random.default_rng(1)
    table = rows(VIEWS[0], 500, rng)
    whole, parts = MemoryStore(), MemoryStore()
    num_keys = materialize(whole, SERVICE, "leg", table)
    assert num_keys == table.group_by(["origin", "dest"]).aggregate([]).num_rows
    for begin in rng.permutation(range(0, table.num_rows, 20)):
        materialize(parts, SERVICE, "leg", table.slice(int(begin), 20))
    assert whole._blobs == parts._blobs
    assert materialize(whole, SERVICE, "leg", table) == 0


def test_groups_are_the_views_with_equal_keys() -> None:
    assert [(layout.group, [view.name for view in layout.views]) for layout in layouts(SERVICE)] == [
        ("origin+dest", ["leg"]),
        ("tailnum", ["plane", "plane_age"]),
    ]


def test_null_keys_find_and_store_nothing() -> None:
    table = rows(VIEWS[2], 3, np.random.default_rng(0)).set_column(0, "tailnum", pa.array(["k1", None, None]))
    store = MemoryStore()
    assert materialize(store, SERVICE, "plane_age", table) == 1
    keys = pa.table({name: pa.array([None], pa.string()) for name in ("origin", "dest", "tailnum")})
    assert get_online_features(store, SERVICE, keys, datetime.now(UTC))["plane_age__x"].null_count == 1


def test_no_rows_change_nothing() -> None:
    assert materialize(MemoryStore(), SERVICE, "leg", rows(VIEWS[0], 5, np.random.default_rng(0)).slice(0, 0)) == 0


def test_what_does_not_fit_is_refused_by_name() -> None:
    store, table = MemoryStore(), rows(VIEWS[0], 5, np.random.default_rng(0))
    with pytest.raises(UnknownNameError, match=r"FeatureView 'legs' is not declared.*'leg'"):
        materialize(store, SERVICE, "legs", table)
    with pytest.raises(UnknownNameError, match="column 'x' is not declared"):
        materialize(store, SERVICE, "leg", table.drop_columns(["x"]))
    with pytest.raises(UserError, match="Feature 'n' is string, not int64"):
        materialize(store, SERVICE, "leg", table.set_column(table.column_names.index("n"), "n", pa.array(["?"] * 5)))
    with pytest.raises(UserError, match="does not fit the 8 of 's'"):
        materialize(
            store, SERVICE, "leg", table.set_column(table.column_names.index("s"), "s", pa.array(["é" * 5] * 5))
        )
    with pytest.raises(UserError, match="ends with NUL"):
        materialize(store, SERVICE, "leg", table.set_column(table.column_names.index("s"), "s", pa.array(["a\0"] * 5)))
    early = table.set_column(table.column_names.index("known_ts"), "known_ts", pa.array([-1] * 5, UTC_US))
    with pytest.raises(UserError, match="known before their event time"):
        materialize(store, SERVICE, "leg", early)
    assert store._blobs == {}


def test_view_that_is_not_online_is_refused() -> None:
    view = FeatureView("v", (PLANE,), FIELDS[:1], "features/v", online=False)
    with pytest.raises(UserError, match="'v' is not online"):
        layouts(FeatureService.of("s", [view], [FeatureRef("v", "*")]))
