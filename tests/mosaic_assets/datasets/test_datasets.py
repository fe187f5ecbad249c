"""Datasets: split by time, pinned, rebuilt to the same rows after the tables have moved on."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from mosaic_assets.datasets.build import DatasetPlan, build_rows, finish, rebuild, usable_rows
from mosaic_assets.datasets.fake import fake_manifest
from mosaic_assets.datasets.manifest import Manifest
from mosaic_assets.datasets.row_hash import row_hash
from mosaic_assets.datasets.splits import Sample, Splitting
from mosaic_assets.datasets.time_splits import TimeSplit
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


def by_month(months=1, cutoff=CUTOFF):
    return Splitting(bounds=TimeSplit(months).bounds(cutoff))


def build(rows=None, splitting=None, plan=PLAN, cutoff=CUTOFF, read_view=None):
    splitting = splitting or by_month()
    usable = usable_rows(plan, labels() if rows is None else rows, cutoff, splitting)
    return build_rows(
        plan, usable, read_view or (lambda _view: view_rows()), splitting.pinned(usable, cutoff, "asked_at")
    )


def test_rows_hold_what_was_known_and_no_label_from_later():
    rows = build()
    assert rows.num_rows == 59  # asked before March, label known by March 10
    first = {row["id"]: row for row in rows.to_pylist()}
    assert (first["i8"]["v__x"], first["i8"]["twice"], first["i9"]["v__x"]) == (5.0, 10.0, None)
    early = build(splitting=by_month(0, datetime(2013, 3, 1, tzinfo=UTC)), cutoff=datetime(2013, 2, 28, tzinfo=UTC))
    assert early.num_rows == 58  # the label of the last day was not known yet


def test_a_missing_label_column_and_a_doubled_key_are_named():
    with pytest.raises(UserError, match="column 'late' is not declared"):
        build(labels().drop_columns("late"))
    with pytest.raises(UserError, match="2 rows share id"):
        build(pa.concat_tables([labels(), labels().slice(0, 2)]))
    with pytest.raises(UserError, match="column 'kk' is not declared"):
        build(splitting=Splitting(shares=(0.8, 0.1, 0.1), group_by=("kk",)))
    with pytest.raises(UserError, match="The entity table has a column 'fold'"):
        build(labels().append_column("fold", labels()["k"]))


def test_a_failing_on_demand_function_is_the_users():
    def wrong(inputs):
        return {"z": inputs["nope"]}

    with pytest.raises(OnDemandError, match="on-demand function failed"):
        build(plan=replace(PLAN, on_demand=wrong))


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


SPLITTINGS = {
    "months": by_month(),
    "time_shares": Splitting(shares=(0.6, 0.3, 0.1), time_col="asked_at", n_splits=3),
    "random": Splitting(shares=(0.6, 0.2, 0.2), sample=Sample(rows=50)),
    "stratified": Splitting(shares=(0.6, 0.2, 0.2), stratify_by=("late",), n_splits=4, seed=5),
    "grouped": Splitting(shares=(0.5, 0.0, 0.5), group_by=("k",)),
    "split_col": Splitting(split_col="part", n_splits=2, sample=Sample(share=0.9, stratify_by=("late",))),
}


@pytest.mark.parametrize("way", SPLITTINGS)
def test_a_manifest_alone_rebuilds_the_rows_after_the_tables_moved_on(engine, lake, tmp_path, way):
    given = labels().append_column("part", pa.array(["train", "test"] * 40))
    label_version = lake.write("tables/labels", given, Commit("l"))
    view_version = lake.write("features/v", view_rows(), Commit("v"))
    splitting = SPLITTINGS[way]
    usable = usable_rows(PLAN, lake.read("tables/labels"), CUTOFF, splitting)
    pinned = splitting.pinned(usable, CUTOFF, "asked_at")
    rows = build_rows(PLAN, usable, lambda view: lake.read(view.source), pinned)
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
        split=tuple(bound.isoformat() for bound in pinned.bounds),
        splitting=pinned.to_dict(),
    )
    manifest = Manifest.load(finish(draft, rows, ["id"]).save(tmp_path))
    assert sum(manifest.num_rows.values()) == rows.num_rows
    assert ("fold" in manifest.columns) == bool(splitting.n_splits)
    if way == "months":
        assert manifest.num_rows == {"train": 31, "validation": 28, "test": 0}
        assert (manifest.splitting, manifest.learnt_until) == ({}, datetime(2013, 3, 1, tzinfo=UTC))
    lake.write("features/v", view_rows(factor=9.0), Commit("v"))
    lake.write("tables/labels", given.slice(0, 40), Commit("l"))
    again = rebuild(manifest, engine.session(), lake)
    assert row_hash(again, ["id"]) == manifest.row_hash
    moved = replace(manifest, tables={**manifest.tables, "features/v": view_version + 1})
    with pytest.raises(UserError, match="The rebuilt rows hash to"):
        rebuild(moved, engine.session(), lake)
    other = replace(manifest, splitting={**manifest.splitting, "seed": 99})
    if not pinned.bounds:
        with pytest.raises(UserError, match="The rebuilt rows hash to"):
            rebuild(replace(other, split=()), engine.session(), lake)


def test_a_manifest_from_before_there_were_other_splits_keeps_its_id():
    manifest = fake_manifest("d", split=("2013-02-01T00:00:00+00:00",) * 3, table_version=1)
    said = json.loads(manifest.to_json())
    old = {name: value for name, value in said.items() if name not in ("splitting", "failed_checks")}
    assert Manifest.from_json(json.dumps(old)) == manifest
    assert replace(manifest, splitting={"seed": 1}).id != manifest.id
    assert replace(manifest, failed_checks=("a leak",)).id != manifest.id


def test_an_altered_manifest_is_refused(tmp_path):
    manifest = finish(fake_manifest("d", query="q"), build(), ["id"])
    text = manifest.to_json().replace('"query": "q"', '"query": "r"')
    with pytest.raises(UserError, match="The manifest was altered"):
        Manifest.from_json(text)
    with pytest.raises(UserError, match="is no dataset manifest"):
        Manifest.from_json("{}")
    with pytest.raises(UserError, match="does not exist"):
        Manifest.load(tmp_path / "nope.json")
