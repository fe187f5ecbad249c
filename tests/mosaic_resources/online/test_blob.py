import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mosaic_resources.errors import InternalError, UserError
from mosaic_resources.online.blob import decode, encode, merge_newest, rows_of
from mosaic_resources.online.layout import ABSENT, BlobLayout, FieldLayout, ViewLayout

ALL = tuple(
    FieldLayout(kind, kind, 6 if kind == "string" else 8)
    for kind in ("int64", "float64", "bool", "timestamp", "string")
)
LAYOUT = BlobLayout("service", ("key",), (ViewLayout("all", ALL), ViewLayout("one", (FieldLayout("x", "float64"),))))
FOREVER = {"all": None, "one": None}


def one(event: int, known: int, x: float, null: bool = False) -> np.ndarray:
    times = np.array([event]), np.array([known])
    return encode(LAYOUT, "one", *times, values={"x": np.array([x])}, nulls={"x": np.array([null])})


def test_round_trip_keeps_every_bit() -> None:
    patterns = np.array([0x7FF8000000000001, 0x7FF0000000000000, 0x8000000000000000, 1, 0x3FB999999999999A], np.uint64)
    floats = patterns.view(np.float64)
    n = len(floats)
    values = {
        "int64": np.array([-(2**63), 2**63 - 1, 0, -1, 7]),
        "float64": floats,
        "bool": np.array([True, False, True, False, True]),
        "timestamp": np.arange(n),
        "string": np.array(["", "a", "é€", "abcdef", "x y"], dtype=object),
    }
    stored = {**values, "string": np.array([text.encode() for text in values["string"]])}
    nulls = {name: np.zeros(n, bool) for name in values}
    rows = encode(LAYOUT, "all", np.arange(n), np.arange(n), values=stored, nulls=nulls)
    back = decode(LAYOUT, rows_of(LAYOUT, [row.tobytes() for row in rows]), 10, FOREVER)
    assert (back["all__float64"].values.view(np.uint64) == patterns).all()
    for name in ("int64", "bool", "string"):
        assert back[f"all__{name}"].values.tolist() == values[name].tolist()
    assert back["all__timestamp"].values.dtype == "datetime64[us]"
    assert all(column.valid.all() for name, column in back.items() if name.startswith("all"))
    assert back["one__x"].missing.all()


@pytest.mark.parametrize("num_fields", [1, 7, 8, 9, 17])
def test_null_bitmap_marks_each_field_alone(num_fields: int) -> None:
    fields = tuple(FieldLayout(f"f{i}", "float64") for i in range(num_fields))
    layout = BlobLayout("service", ("key",), (ViewLayout("v", fields),))
    values = {field.name: np.ones(num_fields) for field in fields}
    nulls = {field.name: np.arange(num_fields) == i for i, field in enumerate(fields)}
    rows = encode(layout, "v", np.zeros(num_fields, int), np.zeros(num_fields, int), values=values, nulls=nulls)
    columns = decode(layout, rows, 0, {})
    for i, field in enumerate(fields):
        assert columns[f"v__{field.name}"].valid.tolist() == [row != i for row in range(num_fields)]
        assert not columns[f"v__{field.name}"].missing.any()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=5, unique=True))
def test_merge_is_the_newest_in_every_order(times: list[tuple[int, int]]) -> None:
    events = [(event, event + delay) for event, delay in times]
    newest = max(events)
    for order in itertools.islice(itertools.permutations(events), 24):
        stored = LAYOUT.empty(1)
        for event, known in order:
            stored = merge_newest(LAYOUT, stored, one(event, known, event * 10.0 + known))
        assert (int(stored["v1"]["event"][0]), int(stored["v1"]["known"][0])) == newest
        assert stored["v1"]["values"]["f0"][0] == newest[0] * 10.0 + newest[1]
        assert stored["v0"]["event"][0] == ABSENT


def test_merge_leaves_other_views_alone() -> None:
    nulls = {field.name: np.array([True]) for field in ALL}
    values = {field.name: np.array([b""] if field.dtype == "string" else [0]) for field in ALL}
    both = merge_newest(
        LAYOUT, encode(LAYOUT, "all", np.array([5]), np.array([6]), values=values, nulls=nulls), one(1, 2, 3.0)
    )
    columns = decode(LAYOUT, both, 10, FOREVER)
    assert not columns["all__int64"].missing.any()
    assert columns["one__x"].values[0] == 3.0


@pytest.mark.parametrize(
    ("at", "ttl", "missing"),
    [(9, None, True), (10, None, False), (15, 10, False), (16, 10, True), (4, 10, True), (10**15, None, False)],
)
def test_a_row_is_usable_from_its_known_time_to_its_ttl(at: int, ttl: int | None, missing: bool) -> None:
    column = decode(LAYOUT, one(5, 10, 1.0), at, {"one": ttl})["one__x"]
    assert column.missing.tolist() == [missing]
    assert column.valid.tolist() == [not missing]


def test_null_is_not_missing() -> None:
    column = decode(LAYOUT, one(5, 10, 1.0, null=True), 20, FOREVER)["one__x"]
    assert (column.valid.tolist(), column.missing.tolist()) == ([False], [False])


def test_known_before_event_is_refused() -> None:
    with pytest.raises(UserError, match="known before their event time"):
        one(5, 4, 1.0)


def test_long_text_is_refused_not_cut() -> None:
    layout = BlobLayout("s", ("k",), (ViewLayout("v", (FieldLayout("t", "string", 3),)),))
    at, fits = np.array([0]), {"t": np.array([False])}
    encode(layout, "v", at, at, values={"t": np.array([b"abc"], "S10")}, nulls=fits)
    with pytest.raises(UserError, match="does not fit the 3 of 't'"):
        encode(layout, "v", at, at, values={"t": np.array(["a€".encode()])}, nulls=fits)


def test_another_layout_is_refused() -> None:
    other = BlobLayout("other", LAYOUT.join_keys, LAYOUT.views)
    assert other.schema_id != LAYOUT.schema_id
    with pytest.raises(InternalError, match="another layout"):
        rows_of(LAYOUT, [other.absent])
    with pytest.raises(InternalError, match="is not in the group"):
        LAYOUT.position("nowhere")


def test_unknown_type_is_refused() -> None:
    with pytest.raises(UserError, match="has no online form"):
        _ = FieldLayout("f", "decimal").stored
