import contextlib
import gzip
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosaic_assets.tables.sources.csv_files import read_csv
from mosaic_resources.errors import UserError


def read(tmp_path, text, schema):
    file = tmp_path / "f.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_csv(file, schema, ("", "NA"), "_rescued_data").to_pylist()


def rescued(row):
    return json.loads(row["_rescued_data"]) if row["_rescued_data"] else None


def test_values_are_typed_and_numbered(tmp_path):
    rows = read(tmp_path, "a,t\n1,2013-01-01T10:00:00Z\nNA,\n", {"a": "bigint", "t": "timestamp"})
    assert rows[0] == {"a": 1, "t": datetime(2013, 1, 1, 10, tzinfo=UTC), "_source_row": 1, "_rescued_data": None}
    assert rows[1]["a"] is None
    assert rows[1]["t"] is None
    assert rows[1]["_rescued_data"] is None


def test_rows_with_too_many_or_few_cells_keep_their_text(tmp_path):
    rows = read(tmp_path, "a,b\n1,x\n2\n3,y,z\n4,w\n", {"a": "bigint", "b": "string"})
    assert [(row["_source_row"], row["a"], rescued(row)) for row in rows] == [
        (1, 1, None),
        (2, None, {"_raw": "2"}),
        (3, None, {"_raw": "3,y,z"}),
        (4, 4, None),
    ]


def test_a_value_that_does_not_parse_is_rescued_alone(tmp_path):
    rows = read(tmp_path, "a,b\n1,1.5\nq,2.5\n", {"a": "bigint", "b": "double"})
    assert [(row["a"], row["b"], rescued(row)) for row in rows] == [(1, 1.5, None), (None, 2.5, {"a": "q"})]


def test_a_column_that_is_not_declared_is_rescued(tmp_path):
    assert rescued(read(tmp_path, "a,new\n1,z\n", {"a": "bigint"})[0]) == {"new": "z"}


def test_quoted_cells_and_crlf(tmp_path):
    rows = read(tmp_path, 'a,b\r\n1,"x,y"\r\n2,"say ""hi"""\r\n', {"a": "bigint", "b": "string"})
    assert [row["b"] for row in rows] == ["x,y", 'say "hi"']


def test_a_file_with_a_header_alone_has_no_rows(tmp_path):
    assert read(tmp_path, "a,b\n", {"a": "bigint", "b": "string"}) == []


def test_wrong_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"nope.csv: The file cannot be read: No such file"):
        read_csv(tmp_path / "nope.csv", {"a": "bigint"}, ("",), "_r")
    with pytest.raises(UserError, match="The file is no readable CSV"):
        read(tmp_path, b"a\n\xff\xfe\x00\xff\n", {"a": "string"})
    with pytest.raises(UserError, match="The column 'a' has the type 'money'.*Known: string"):
        read(tmp_path, "a\n1\n", {"a": "money"})


@pytest.mark.parametrize("content", [b"", b"\n", b"  \r\n\n", b"\xef\xbb\xbf"])
def test_a_file_that_holds_nothing_has_no_rows(tmp_path, content):
    (tmp_path / "f.csv").write_bytes(content)
    rows = read_csv(tmp_path / "f.csv", {"a": "bigint", "t": "timestamp"}, ("",), "_rescued_data")
    assert (rows.num_rows, rows.column_names) == (0, ["a", "t", "_source_row", "_rescued_data"])
    (tmp_path / "g.csv").write_text("a,t\n")
    assert rows.schema == read_csv(tmp_path / "g.csv", {"a": "bigint", "t": "timestamp"}, ("",), "_rescued_data").schema


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (gzip.compress(b"a,b\n1,2\n"), r"byte 1 is not UTF-8"),
        ("a,b\n1,x\n".encode("utf-16"), r"byte 0 is not UTF-8"),
        (b"\x00" * 100, r"Empty CSV file"),
        (b'"a,b\n1,2\n', r"CSV parse error"),
        (b"a,a\n1,2\n", r"Column 'a' stands twice in the header"),
    ],
)
def test_a_file_that_is_no_csv_is_named_with_what_to_do(tmp_path, content, told):
    with pytest.raises(UserError, match=rf"f\.csv: .*{told}.* Mend it, or take it out of the landing folder"):
        read(tmp_path, content, {"a": "bigint"})


@given(st.binary(max_size=200))
def test_whatever_lies_there_is_read_or_refused_as_ours(tmp_path_factory, content):
    with contextlib.suppress(UserError):
        read(tmp_path_factory.getbasetemp(), content, {"a": "bigint"})
