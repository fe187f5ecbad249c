"""Columns of landed files in every format: each value is in its column or in the rescue column."""

import json
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mosaic_assets.tables.evolution import Columns, columns_of, kept_columns
from mosaic_assets.tables.ingest import ingest
from mosaic_assets.tables.ledger import Ledger
from mosaic_assets.tables.source import FileSource, named_format
from mosaic_assets.tables.sources.parsed import ReadOptions
from mosaic_assets.tables.sources.registry import READERS, reader_of
from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.lake import Lake
from mosaic_resources.delta.writers import DeltaRsWriter
from mosaic_resources.errors import UnknownNameError, UserError

NOW = datetime(2013, 1, 1, tzinfo=UTC)


def lake(folder: Path) -> Lake:
    return Lake(str(folder / "lake"), DeltaRsWriter())


def run(folder: Path, columns, mode, file_format="json", **asked):
    return ingest(
        lake(folder), Ledger(folder / "ingest.db"), "raw/t", folder / "landing", "*",
        source=FileSource(columns_of(columns, "t.yaml:3"), mode, file_format),
        now_utc=NOW, commit=Commit("raw/t"), **asked,
    )  # fmt: skip


def land(folder: Path, name: str, *rows) -> None:
    (folder / "landing").mkdir(exist_ok=True)
    text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    (folder / "landing" / name).write_text(text + "\n")


def rows_of(folder: Path):
    rows = lake(folder).read("raw/t").sort_by([("_source_file", "ascending"), ("_source_row", "ascending")])
    return rows.drop_columns(["_source_file", "_source_row", "_ingested_at"]).to_pylist()


def test_a_new_column_is_added_within_the_same_run(tmp_path):
    land(tmp_path, "1", {"a": 1})
    run(tmp_path, {"a": "bigint"}, "add_new_columns")
    land(tmp_path, "2", {"a": 2, "b": 1.5, "c": {"d": [1, "x"]}})
    report = run(tmp_path, {"a": "bigint"}, "add_new_columns")
    assert report.added == ("b", "c")
    assert rows_of(tmp_path) == [
        {"a": 1, "_rescued_data": None, "b": None, "c": None},
        {"a": 2, "_rescued_data": None, "b": 1.5, "c": '{"d": [1, "x"]}'},
    ]


def test_an_added_column_keeps_its_type_and_what_does_not_fit_it_is_rescued(tmp_path):
    land(tmp_path, "1", {"a": 1})
    run(tmp_path, {}, "add_new_columns")
    land(tmp_path, "2", {"a": 3.7})
    run(tmp_path, {}, "add_new_columns")
    assert rows_of(tmp_path)[1] == {"a": None, "_rescued_data": '{"a": "3.7"}'}


def test_rescue_keeps_the_columns_and_puts_new_ones_aside(tmp_path):
    land(tmp_path, "1", {"a": 1, "b": "x"}, {"a": 2})
    assert run(tmp_path, {"a": "bigint"}, "rescue").added == ()
    assert rows_of(tmp_path) == [{"a": 1, "_rescued_data": '{"b": "x"}'}, {"a": 2, "_rescued_data": None}]


def test_fail_on_new_columns_writes_nothing(tmp_path):
    land(tmp_path, "1", {"a": 1})
    run(tmp_path, {"a": "bigint"}, "fail_on_new_columns")
    land(tmp_path, "2", {"a": 1, "b": 2})
    with pytest.raises(UserError, match="raw/t: Column 'b' is new; nothing was written. Declare it under 'columns'"):
        run(tmp_path, {"a": "bigint"}, "fail_on_new_columns")
    assert len(rows_of(tmp_path)) == 1


def test_none_ignores_new_columns_and_still_rescues_what_does_not_fit(tmp_path):
    land(tmp_path, "1", {"a": "q", "b": 2})
    run(tmp_path, {"a": "bigint"}, "none")
    assert rows_of(tmp_path) == [{"a": None, "_rescued_data": '{"a": "q"}'}]


def test_columns_are_inferred_from_all_first_files_and_kept_by_the_table(tmp_path):
    (tmp_path / "landing").mkdir()
    (tmp_path / "landing" / "1.csv").write_text("i,d,z,b,day,at,t\n1,2,00501,true,2013-01-02,2013-01-02T03:04:05Z,x\n")
    (tmp_path / "landing" / "2.csv").write_text("i,d,z,b,day,at,t\n2,2.5,1,false,2013-01-03,2013-01-02 03:04:05,1\n")
    run(tmp_path, {}, "rescue", "csv")
    assert kept_columns(lake(tmp_path).schema("raw/t"), "_rescued_data") == {
        "i": "bigint", "d": "double", "z": "string", "b": "boolean", "day": "date", "at": "timestamp", "t": "string",
    }  # fmt: skip
    assert rows_of(tmp_path)[0]["at"] == datetime(2013, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_a_declared_column_is_a_hint_where_others_are_added(tmp_path):
    land(tmp_path, "1", {"a": 1, "b": 2})
    run(tmp_path, {"a": "double"}, "add_new_columns")
    assert kept_columns(lake(tmp_path).schema("raw/t"), "_rescued_data") == {"a": "double", "b": "bigint"}


def test_values_at_paths_stand_beside_the_whole_object(tmp_path):
    land(tmp_path, "1", {"user": {"id": 7, "tags": ["x"]}}, {"user": "none"}, {})
    run(tmp_path, {"user_id": {"type": "bigint", "path": "user.id"}}, "rescue")
    assert rows_of(tmp_path) == [
        {"user_id": 7, "user": '{"id": 7, "tags": ["x"]}', "_rescued_data": None},
        {"user_id": None, "user": "none", "_rescued_data": None},
        {"user_id": None, "user": None, "_rescued_data": None},
    ]


def test_a_line_that_is_no_object_keeps_its_text(tmp_path):
    bad = ["[1]", '{"a": 1', '{"a": 1, "a": 2}', '{"a": 1e400}', '{"b": "\\ud800"}']
    land(tmp_path, "1", {"a": 1}, *bad)
    run(tmp_path, {"a": "bigint"}, "rescue")
    assert rows_of(tmp_path)[0] == {"a": 1, "_rescued_data": None}
    assert [json.loads(row["_rescued_data"]) for row in rows_of(tmp_path)[1:]] == [{"_raw": text} for text in bad]


def test_names_that_the_table_cannot_have_are_rescued(tmp_path):
    land(tmp_path, "1", {"a": 1, "A": 2, "_source_row": 3, "b c": 4})
    run(tmp_path, {"a": "bigint"}, "add_new_columns")
    (row,) = rows_of(tmp_path)
    assert (row["a"], json.loads(row["_rescued_data"])) == (1, {"A": "2", "_source_row": "3", "b c": "4"})


def test_a_csv_column_named_as_our_row_number_is_rescued(tmp_path):
    land(tmp_path, "1", "a,_source_row", "1,9")
    run(tmp_path, {"a": "bigint"}, "rescue", "csv")
    assert rows_of(tmp_path) == [{"a": 1, "_rescued_data": '{"_source_row": "9"}'}]


def test_parquet_keeps_its_types_and_what_does_not_fit_is_rescued(tmp_path):
    (tmp_path / "landing").mkdir()
    table = pa.table({
        "i": pa.array([1, None], pa.int32()), "x": [1.5, 2.0], "day": [date(2013, 1, 2)] * 2,
        "at": pa.array([NOW, NOW], pa.timestamp("ns")), "user": [{"id": "u"}, None], "raw": [b"\xff", b"\x00"],
    })  # fmt: skip
    pq.write_table(table, tmp_path / "landing" / "1.parquet")
    columns = {"x": "bigint", "user_id": {"type": "string", "path": "user.id"}}
    run(tmp_path, columns, "add_new_columns", "parquet")
    first, second = rows_of(tmp_path)
    assert first == {
        "x": None, "user_id": "u", "user": '{"id": "u"}', "i": 1, "day": date(2013, 1, 2), "at": NOW, "raw": "/w==",
        "_rescued_data": '{"x": "1.5"}',
    }  # fmt: skip
    assert (second["x"], second["i"], second["user_id"]) == (2, None, None)


def test_wrong_declarations_and_files_are_named(tmp_path):
    with pytest.raises(UserError, match="t.yaml:3: Column 'a' is not understood.*path: user.id"):
        columns_of({"a": {"path": "x.y"}}, "t.yaml:3")
    with pytest.raises(UnknownNameError, match="here: Format 'jsn' is not declared. Did you mean 'json'"):
        reader_of("jsn", "here")
    with pytest.raises(UnknownNameError, match="Known: avro, csv, files, json, orc, parquet, xml"):
        reader_of("money", "here")
    with pytest.raises(UserError, match="Column 'a' has a path, but csv has no nested values"):
        named_format("csv", Columns({"a": "string"}, {"a": ("x", "y")}), "here")
    (tmp_path / "bad").write_bytes(b"nothing of that kind")
    with pytest.raises(UserError, match="bad: The file is no readable Parquet"):
        READERS["parquet"](tmp_path, ["bad"], ReadOptions())
    for name, reader in READERS.items():
        with pytest.raises(UserError, match="gone: The file cannot be read"):
            reader(tmp_path, ["gone"], ReadOptions())
        assert name in READERS
    land(tmp_path, "1", {"a": None})
    with pytest.raises(UserError, match="raw/t: The files hold no value to infer a column from. Declare 'columns'"):
        run(tmp_path, {}, "rescue")


def test_a_changed_file_is_reloaded_exactly_once(tmp_path):
    land(tmp_path, "it's", {"a": 1}, {"a": 2})
    land(tmp_path, "2", {"a": 9})
    run(tmp_path, {"a": "bigint"}, "rescue")
    land(tmp_path, "it's", {"a": 1}, {"a": 3}, {"a": 4})
    land(tmp_path, "new", {"a": 5, "b": 1})
    before = lake(tmp_path).version("raw/t")
    report = run(tmp_path, {"a": "bigint"}, "add_new_columns", changed_files="reload")
    assert (report.reloaded, report.changed, report.version) == (("it's",), (), before + 1)
    assert run(tmp_path, {"a": "bigint"}, "add_new_columns", changed_files="reload").files == ()
    assert [row["a"] for row in rows_of(tmp_path)] == [9, 1, 3, 4, 5]


def test_a_changed_file_that_is_empty_now_takes_its_rows_along(tmp_path):
    land(tmp_path, "1", {"a": 1})
    land(tmp_path, "2", {"a": 2})
    run(tmp_path, {"a": "bigint"}, "rescue")
    (tmp_path / "landing" / "1").write_text("")
    run(tmp_path, {"a": "bigint"}, "rescue", changed_files="reload")
    assert [row["a"] for row in rows_of(tmp_path)] == [2]


def test_a_changed_file_fails_where_that_is_asked(tmp_path):
    land(tmp_path, "1", {"a": 1})
    run(tmp_path, {"a": "bigint"}, "rescue")
    land(tmp_path, "1", {"a": 10})
    land(tmp_path, "2", {"a": 2})
    with pytest.raises(UserError, match="1 file.s. changed after they were read, the first is '1'.*reload"):
        run(tmp_path, {"a": "bigint"}, "rescue", changed_files="fail")
    assert [row["a"] for row in rows_of(tmp_path)] == [1]


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)
NAMES = st.sampled_from(["a", "b", "A", "new", "_source_row", "_rescued_data", "with space", ""])
FILES = st.lists(st.lists(st.dictionaries(NAMES, VALUES), min_size=1, max_size=4), min_size=1, max_size=3)
MODES = st.sampled_from(["add_new_columns", "rescue"])
KINDS = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from(["string", "bigint", "double", "boolean"]))


def as_text(value):
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def is_value(stored, value):
    """Whether a stored value is the one that landed, be it typed or as text."""
    if isinstance(stored, str):
        return stored == as_text(value)
    try:
        return json.loads(as_text(value).strip().lower()) == stored or float(as_text(value)) == float(stored)
    except ValueError:
        return False


@settings(max_examples=40, deadline=None)
@given(files=FILES, mode=MODES, kinds=KINDS.filter(bool))
def test_every_value_is_in_its_column_or_rescued(files, mode, kinds):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, rows in enumerate(files):  # Each file in a run of its own: the table evolves.
            land(folder, f"{number}", *rows)
            run(folder, kinds, mode)
        stored = iter(rows_of(folder))
        for row in (row for rows in files for row in rows):
            found = next(stored)
            rescued = json.loads(found["_rescued_data"]) if found["_rescued_data"] else {}
            for name, value in row.items():
                if value is None:
                    assert name in rescued or name == "_rescued_data" or found.get(name) is None
                elif name in rescued:
                    assert rescued[name] == as_text(value)
                else:
                    assert name in kinds or mode == "add_new_columns"
                    assert is_value(found[name], value), (name, value, found)
        assert next(stored, None) is None
