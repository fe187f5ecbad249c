"""Datasets: split by time, pinned, rebuilt to the same rows after the tables have moved on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from mosaic_assets.datasets.build import DatasetPlan, build_rows, finish, rebuild
from mosaic_assets.datasets.fake import fake_manifest
from mosaic_assets.datasets.manifest import Manifest
from mosaic_assets.datasets.row_hash import row_hash
from mosaic_assets.datasets.splits import TimeSplit, split_by_time
from mosaic_assets.features.definition import service_definition
from mosaic_assets.features.views import Entity, FeatureRef, FeatureService, FeatureView, Field
from mosaic_resources.bentos.on_demand import OnDemandError
from mosaic_resources.delta.commit import Commit
from mosaic_resources.errors import UserError

JANUARY = datetime(2013, 1, 1, tzinfo=UTC)
CUTOFF = datetime(2013, 3, 10, tzinfo=UTC)
VIEW = FeatureView("v", (Entity("e", ("k",)),), (Field("x", "float64"),), "features/v")
SERVICE = FeatureService.of("s", [VIEW], [FeatureRef.parse("v:*")])


ON_DEMAND = """
def features(inputs):
    return {"twice": inputs["v__x"] * 2, "age": (inputs["asked_at"] - inputs["asked_at"].min()).astype(float)}
"""
scope: dict = {}
exec(ON_DEMAND, scope)
doubled = scope["features"]
PLAN = DatasetPlan("d", SERVICE, ("id",), "asked_at", "late", "label_known_ts", ("k",), doubled)


def times(days):
    return pa.array([JANUARY + timedelta(days=day) for day in days], pa.timestamp("us", tz="UTC"))


def labels(num_days=80):
    days = range(num_days)
    return pa.table(
        {"id": [f"i{day}" for day in days], "k": ["a", "b"] * (num_days // 2), "asked_at": times(days),
         "label_known_ts": times(day + 1 for day in days), "late": [day % 3 == 0 for day in days]}
    )  # fmt: skip


def view_rows(factor=1.0):
    days = list(range(0, 80, 5))
    return pa.table(
        {"k": ["a"] * len(days), "event_ts": times(days), "known_ts": times(days), "x": [day * factor for day in days]}
    )


def test_bounds_are_whole_months_before_the_cutoff():
    assert TimeSplit(1, 0).bounds(CUTOFF) == (
        datetime(2013, 2, 1, tzinfo=UTC),
        datetime(2013, 3, 1, tzinfo=UTC),
        datetime(2013, 3, 1, tzinfo=UTC),
    )
    assert TimeSplit(2, 1).bounds(datetime(2013, 2, 9, tzinfo=UTC))[0] == datetime(2012, 11, 1, tzinfo=UTC)


def test_splits_are_disjoint_and_complete_and_never_empty():
    bounds = TimeSplit(1, 0).bounds(CUTOFF)
    at = np.array([int((JANUARY + timedelta(days=day)).timestamp() * 1e6) for day in range(59)])
    names = split_by_time(at, bounds, "d")
    assert set(names[:31]) == {"train"}
    assert set(names[31:]) == {"validation"}
    with pytest.raises(UserError, match="The split 'validation' has no rows"):
        split_by_time(at[:31], bounds, "d")


def build(rows=None):
    return build_rows(PLAN, rows or labels(), lambda _view: view_rows(), CUTOFF, TimeSplit().bounds(CUTOFF))


def test_rows_hold_what_was_known_and_no_label_from_later():
    rows = build()
    assert rows.num_rows == 59  # asked before March, label known by March 10
    first = {row["id"]: row for row in rows.to_pylist()}
    assert (first["i8"]["v__x"], first["i8"]["twice"], first["i9"]["v__x"]) == (5.0, 10.0, None)
    early = build_rows(
        PLAN,
        labels(),
        lambda _view: view_rows(),
        datetime(2013, 2, 28, tzinfo=UTC),
        TimeSplit(0).bounds(datetime(2013, 3, 1, tzinfo=UTC)),
    )
    assert early.num_rows == 58  # the label of the last day was not known yet


def test_a_missing_label_column_and_a_doubled_key_are_named():
    with pytest.raises(UserError, match="column 'late' is not declared"):
        build(labels().drop_columns("late"))
    with pytest.raises(UserError, match="2 rows share id"):
        build(pa.concat_tables([labels(), labels().slice(0, 2)]))


def test_a_failing_on_demand_function_is_the_users():
    def wrong(inputs):
        return {"z": inputs["nope"]}

    with pytest.raises(OnDemandError, match="on-demand function failed"):
        build_rows(
            replace(PLAN, on_demand=wrong), labels(), lambda _view: view_rows(), CUTOFF, TimeSplit().bounds(CUTOFF)
        )


def test_row_hash_depends_on_values_alone():
    rows = build()
    shuffled = pa.concat_tables([rows.slice(30), rows.slice(0, 30)]).select(list(reversed(rows.column_names)))
    assert row_hash(shuffled, ["id"]) == row_hash(rows, ["id"])
    changed = rows.set_column(
        rows.column_names.index("v__x"),
        "v__x",
        pa.array([None if value == 5.0 else value for value in rows["v__x"].to_pylist()], pa.float64()),
    )
    assert row_hash(changed, ["id"]) != row_hash(rows, ["id"])


def test_a_manifest_alone_rebuilds_the_rows_after_the_tables_moved_on(engine, lake, tmp_path):
    label_version = lake.write("tables/labels", labels(), Commit("l"))
    view_version = lake.write("features/v", view_rows(), Commit("v"))
    bounds = TimeSplit().bounds(CUTOFF)
    rows = build_rows(PLAN, lake.read("tables/labels"), lambda view: lake.read(view.source), CUTOFF, bounds)
    draft = fake_manifest(
        "d",
        tables={"tables/labels": label_version, "features/v": view_version},
        query="select * from tables.labels",
        service=service_definition(SERVICE),
        entity_key=("id",),
        timestamp_field="asked_at",
        label="late",
        label_known_field="label_known_ts",
        request=("k",),
        on_demand=ON_DEMAND,
        cutoff_utc=CUTOFF.isoformat(),
        split=tuple(bound.isoformat() for bound in bounds),
    )
    manifest = Manifest.load(finish(draft, rows, ["id"]).save(tmp_path))
    assert manifest.num_rows == {"train": 31, "validation": 28, "test": 0}
    lake.write("features/v", view_rows(factor=9.0), Commit("v"))
    lake.write("tables/labels", labels(40), Commit("l"))
    again = rebuild(manifest, engine.session(), lake)
    assert row_hash(again, ["id"]) == manifest.row_hash
    moved = replace(manifest, tables={**manifest.tables, "features/v": view_version + 1})
    with pytest.raises(UserError, match="The rebuilt rows hash to"):
        rebuild(moved, engine.session(), lake)


def test_an_altered_manifest_is_refused(tmp_path):
    manifest = finish(fake_manifest("d", query="q"), build(), ["id"])
    text = manifest.to_json().replace('"query": "q"', '"query": "r"')
    with pytest.raises(UserError, match="The manifest was altered"):
        Manifest.from_json(text)
    with pytest.raises(UserError, match="is no dataset manifest"):
        Manifest.from_json("{}")
    with pytest.raises(UserError, match="does not exist"):
        Manifest.load(tmp_path / "nope.json")
