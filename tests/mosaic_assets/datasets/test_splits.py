"""Splits, folds and samples of a dataset: each way, on rows of flights as they are."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mosaic_assets.datasets.declarations import sample_of, splitting_of
from mosaic_assets.datasets.splits import Sample, Splitting, fold_column, sampled, split_column
from mosaic_assets.datasets.time_splits import TimeSplit, bounds_by_share, microsecond, parts_by_time, time_blocks
from mosaic_resources.errors import UnknownNameError, UserError

CUTOFF = datetime(2013, 3, 10, tzinfo=UTC)
KEY = ("id",)


def rows(num_rows=3000):
    rng = np.random.default_rng(5)
    minutes = np.sort(rng.integers(0, 68 * 24 * 60, num_rows))
    at = [datetime(2013, 1, 1, tzinfo=UTC) + timedelta(minutes=int(minute)) for minute in minutes]
    return pa.table(
        {"id": [f"f{row}" for row in range(num_rows)], "asked_at": pa.array(at, pa.timestamp("us", tz="UTC")),
         "tailnum": [None if row % 97 == 0 else f"N{row % 60}" for row in range(num_rows)],
         "carrier": rng.choice(["UA", "B6", "EV", "HA"], num_rows, p=[0.5, 0.3, 0.199, 0.001]),
         "late": (rng.random(num_rows) < 0.2).astype(int),
         "part": rng.choice(["train", "validation", "test"], num_rows)}
    )  # fmt: skip


def shuffled(table, seed=1):
    return table.take(pa.array(np.random.default_rng(seed).permutation(table.num_rows)))


def named(table, splitting):
    return dict(
        zip(table["id"].to_pylist(), split_column(table, KEY, "asked_at", splitting, "d").to_pylist(), strict=True)
    )


def declared(months=None, cutoff=CUTOFF, held=None, **more):
    return splitting_of(held or {}, months, cutoff, **more)


WAYS = {
    "months": {"months": TimeSplit(1, 0)},
    "ends": {"held": {"train": "2013-02-01", "validation": "2013-02-20", "test": "2013-03-05T12:00:00+00:00"}},
    "time_shares": {"held": {"train": 0.6, "validation": 0.25, "test": 0.15}, "time_col": "asked_at"},
    "random": {"held": {"validation": 0.2, "test": 0.1}},
    "stratified": {"held": {"validation": 0.2, "test": 0.1}, "stratify_by": ("late", "carrier")},
    "grouped": {"held": {"validation": 0.2, "test": 0.1}, "group_by": ("tailnum",)},
    "split_col": {"split_col": "part"},
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_is_exhaustive_and_the_same_in_every_order_and_after_a_round_trip(way):
    table = rows()
    end = declared(**WAYS[way]).bounds[-1:] or [CUTOFF]
    table = table.filter(pc.less(table["asked_at"], pa.scalar(end[0], pa.timestamp("us", tz="UTC"))))
    splitting = declared(**WAYS[way]).pinned(table, end[0], "asked_at")
    names = named(table, splitting)
    assert set(names.values()) <= {"train", "validation", "test"}
    assert len(names) == table.num_rows
    again = Splitting.of(splitting.to_dict(), [bound.isoformat() for bound in splitting.bounds])
    assert named(shuffled(table), again) == names
    # Other rows' presence moves no row of a random split; other seeds move many.
    if way == "random":
        assert named(table.slice(0, 500), splitting).items() <= names.items()
        assert named(table, declared(**WAYS[way], seed=18)) != names


def test_a_group_stays_together_and_strata_keep_their_shares():
    table = rows()
    by_group = {}
    names = split_column(table, KEY, "asked_at", declared(**WAYS["grouped"]), "d").to_pylist()
    for group, name in zip(table["tailnum"].to_pylist(), names, strict=True):
        by_group.setdefault(group, set()).add(name)
    assert {len(found) for found in by_group.values()} == {1}
    assert names.count("train") == pytest.approx(2100, abs=60)
    split = table.append_column("split", split_column(table, KEY, "asked_at", declared(**WAYS["stratified"]), "d"))
    counted = split.group_by(["late", "carrier", "split"]).aggregate([([], "count_all")]).to_pylist()
    whole = {(row["late"], row["carrier"]): row["count_all"]
             for row in table.group_by(["late", "carrier"]).aggregate([([], "count_all")]).to_pylist()}  # fmt: skip
    for row in counted:
        share = {"train": 0.7, "validation": 0.2, "test": 0.1}[row["split"]]
        assert abs(row["count_all"] - share * whole[row["late"], row["carrier"]]) <= 1


def test_shares_of_time_become_ends_that_divide_no_instant():
    table = rows()
    splitting = declared(**WAYS["time_shares"]).pinned(table, CUTOFF, "asked_at")
    assert (splitting.shares, len(splitting.bounds)) == ((), 3)
    split = table.append_column("split", split_column(table, KEY, "asked_at", splitting, "d"))
    spans = [
        (pc.min(part["asked_at"]).as_py(), pc.max(part["asked_at"]).as_py(), part.num_rows)
        for name in ("train", "validation", "test")
        for part in [split.filter(pc.equal(split["split"], name))]
    ]
    assert spans[0][1] < spans[1][0] <= spans[1][1] < spans[2][0]
    assert [size for _, _, size in spans] == pytest.approx([1800, 750, 450], abs=5)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=80), st.integers(0, 10), st.integers(0, 10))
@settings(max_examples=200, deadline=None)
def test_shares_of_time_hold_at_most_a_share_and_its_ties(times, validation, test):
    shares = np.array([20 - validation - test, validation, test]) / 20
    at = np.array(times) * 1_000_000
    end = datetime(2000, 1, 1, tzinfo=UTC)
    parts = parts_by_time(at, bounds_by_share(at, shares, end))
    assert all(len(set(parts[at == moment])) == 1 for moment in at)
    assert (np.diff(parts[np.argsort(at, kind="stable")]) >= 0).all()
    for edge, share in ((0, shares[0]), (1, shares[0] + shares[1])):
        # What lies before an end is short of the share by less than the rows of one instant.
        before = int((parts <= edge).sum())
        assert before <= np.ceil(share * len(at) - 1e-9)
        assert before + max(np.unique(at, return_counts=True)[1]) >= share * len(at) - 1e-9


@pytest.mark.parametrize("way", ["random", "stratified", "grouped", "split_col"])
def test_folds_by_key_are_even_disjoint_and_leave_the_test_split_out(way):
    table = rows()
    splitting = declared(**WAYS[way], n_splits=5)
    split = table.append_column("split", split_column(table, KEY, "asked_at", splitting, "d"))
    folds = dict(
        zip(split["id"].to_pylist(), fold_column(split, KEY, "asked_at", splitting, "d").to_pylist(), strict=True)
    )
    tested = split.filter(pc.equal(split["split"], "test"))["id"].to_pylist()
    assert {name for name, fold in folds.items() if fold is None} == set(tested)
    sizes = np.bincount([fold for fold in folds.values() if fold is not None])
    assert len(sizes) == 5
    assert sizes.max() - sizes.min() <= (60 if way == "grouped" else 7 if way == "stratified" else 1)
    mixed = shuffled(split)
    again = fold_column(mixed, KEY, "asked_at", splitting, "d").to_pylist()
    assert dict(zip(mixed["id"].to_pylist(), again, strict=True)) == folds
    if way == "grouped":
        pairs = {(group, folds[name]) for group, name in zip(table["tailnum"].to_pylist(), table["id"].to_pylist(),
                                                             strict=True) if folds[name] is not None}  # fmt: skip
        assert len(pairs) == len({group for group, _ in pairs})


def test_folds_by_time_are_blocks_in_order():
    table = rows()
    splitting = declared(**WAYS["time_shares"], n_splits=4).pinned(table, CUTOFF, "asked_at")
    split = table.append_column("split", split_column(table, KEY, "asked_at", splitting, "d"))
    folds = split.append_column("fold", fold_column(split, KEY, "asked_at", splitting, "d"))
    blocks = [folds.filter(pc.equal(folds["fold"], number))["asked_at"] for number in range(5)]
    assert [len(block) for block in blocks] == pytest.approx([510] * 5, abs=8)
    assert all(pc.max(blocks[at]).as_py() < pc.min(blocks[at + 1]).as_py() for at in range(4))
    assert folds["fold"].null_count == pc.sum(pc.equal(folds["split"], "test")).as_py()
    with pytest.raises(UserError, match="2 times do not make 3 blocks"):
        time_blocks(np.array([1, 1, 2, 2]), 3, "d")
    few = rows(16).append_column("split", pa.array(["train"] * 16))
    with pytest.raises(UserError, match="16 rows do not fill 20 folds"):
        fold_column(few, KEY, "asked_at", declared(held={"test": 0.5}, n_splits=20), "d")


def test_a_sample_is_drawn_by_keys_alone():
    table = rows()
    for sample, size in (
        (Sample(rows=200), 200),
        (Sample(share=0.1), 300),
        (Sample(share=0.1, stratify_by=("late",)), 300),
    ):
        drawn = sampled(table, KEY, Splitting(sample=sample))
        assert drawn.num_rows == size
        assert set(sampled(shuffled(table), KEY, Splitting(sample=sample))["id"].to_pylist()) == set(
            drawn["id"].to_pylist()
        )
        assert drawn["id"].to_pylist() != sampled(table, KEY, Splitting(sample=sample, seed=3))["id"].to_pylist()
        said = Splitting(sample=sample, split_col="part").to_dict()
        assert Splitting.of(said, []).sample == sample
    assert sampled(table, KEY, Splitting()) is table
    smaller = sampled(table, KEY, Splitting(sample=Sample(rows=50)))["id"].to_pylist()
    assert set(smaller) <= set(sampled(table, KEY, Splitting(sample=Sample(rows=200)))["id"].to_pylist())


def test_an_empty_or_unknown_split_is_an_error():
    table = rows()
    with pytest.raises(UserError, match="The split 'validation' has no rows: it takes 'asked_at' from"):
        split_column(table.slice(0, 20), KEY, "asked_at", declared(**WAYS["ends"]), "d")
    with pytest.raises(UserError, match="The split 'train' of 1 rows has none. Land more, or hold out less"):
        split_column(table.slice(0, 1), KEY, "asked_at", Splitting(shares=(0.0, 0.0, 1.0)), "d")
    with pytest.raises(UnknownNameError, match="split in 'carrier' '(UA|B6|EV|HA)' is not declared"):
        split_column(table, KEY, "asked_at", Splitting(split_col="carrier"), "d")
    only_test = table.set_column(5, "part", pa.array(["test"] * table.num_rows))
    with pytest.raises(UserError, match="The split 'train' has no rows"):
        split_column(only_test, KEY, "asked_at", Splitting(split_col="part"), "d")


@pytest.mark.parametrize(
    ("held", "more", "message"),
    [
        ({"train": 0.5, "test": 0.4}, {}, "do not make 1"),
        ({"validation": 0.7, "test": 0.4}, {}, "do not make 1"),
        ({"train": 0.5, "validation": "2013-01-01"}, {}, "mixes shares and ends"),
        ({"train": "2013-02-01", "validation": "2013-01-01"}, {}, "do not ascend"),
        ({"train": "soon"}, {}, "'soon' is no date"),
        ({"validation": "2013-02-01"}, {}, "needs the end of 'train'"),
        ({"test": 0.2}, {"split_col": "part"}, "exclude each other"),
        ({"test": 0.2}, {"months": TimeSplit()}, "exclude each other"),
        ({"test": 0.2}, {"stratify_by": ["late"], "group_by": ["tailnum"]}, "'stratify_by' and 'group_by' exclude"),
        ({"test": 0.2}, {"time_col": "asked_at", "stratify_by": ["late"]}, "neither strata nor groups"),
        ({}, {"group_by": ["tailnum"]}, "neither strata nor groups"),
        ({"test": 0.2}, {"n_splits": 1}, "One fold is none"),
    ],
)  # fmt: skip
def test_a_declaration_that_contradicts_itself_is_refused(held, more, message):
    with pytest.raises(UserError, match=message):
        declared(held=held, **more)


def test_a_sample_is_rows_or_a_share():
    assert sample_of(None, 0.5, ["late"], "s") == Sample(None, 0.5, ("late",))
    for rows_, share in ((None, None), (5, 0.5)):
        with pytest.raises(UserError, match="needs 'rows' or 'share'"):
            sample_of(rows_, share, [], "s")


def test_ends_default_and_months_count_back_from_the_cutoff():
    assert declared(held={"train": "2013-02-01"}).bounds == (datetime(2013, 2, 1, tzinfo=UTC),) * 3
    assert declared().bounds == (datetime(2013, 2, 1, tzinfo=UTC), *[datetime(2013, 3, 1, tzinfo=UTC)] * 2)
    assert TimeSplit(2, 1).bounds(datetime(2013, 2, 9, tzinfo=UTC))[0] == datetime(2012, 11, 1, tzinfo=UTC)
    assert microsecond(datetime(2013, 1, 1, 0, 0, 0, 7, tzinfo=UTC)) == 1_356_998_400_000_007
    assert declared(held={"train": 0.8, "test": 0.2}).shares == (0.8, 0.0, 0.2)
