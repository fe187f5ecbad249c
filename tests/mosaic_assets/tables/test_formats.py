"""Avro, ORC, XML, and files of any kind: each value is kept, a torn file is refused by its name."""

import decimal
import hashlib
import json
import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.orc as orc
import pytest

from mosaic_assets.tables.evolution import columns_of
from mosaic_assets.tables.ingest import IngestReport, ingest
from mosaic_assets.tables.ledger import Ledger
from mosaic_assets.tables.source import FileSource, named_format
from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.lake import Lake
from mosaic_resources.delta.writers import DeltaRsWriter
from mosaic_resources.errors import UserError

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
AVRO = {
    "type": "record",
    "name": "order",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "day", "type": ["null", {"type": "int", "logicalType": "date"}]},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 8, "scale": 2}},
        {"name": "buyer", "type": {"type": "record", "name": "buyer", "fields": [{"name": "name", "type": "string"}]}},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "either", "type": ["null", "int", "string"]},
        {"name": "raw", "type": "bytes"},
        {"name": "kind", "type": {"type": "enum", "name": "kind", "symbols": ["A", "B"]}},
        {"name": "nothing", "type": ["null", "int"]},
    ],
}


def lake(folder: Path) -> Lake:
    return Lake(str(folder / "lake"), DeltaRsWriter())


def run(folder: Path, file_format: str, columns: dict[str, Any] | None = None, **told: Any) -> IngestReport:
    contents = told.pop("contents", False)
    source = FileSource(columns_of(columns or {}, "t"), "add_new_columns", file_format, contents=contents)
    return ingest(
        lake(folder), Ledger(folder / "ingest.db"), "raw/t", folder / "landing", "*",
        source=source, now_utc=NOON, commit=Commit("raw/t"), **told,
    )  # fmt: skip


def rows(folder: Path) -> list[dict[str, Any]]:
    table = lake(folder).read("raw/t").sort_by([("_source_file", "ascending"), ("_source_row", "ascending")])
    return table.drop_columns(["_source_file", "_source_row", "_ingested_at"]).to_pylist()


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    (tmp_path / "landing").mkdir()
    return tmp_path / "landing"


def write_avro(file: Path, *orders: dict[str, Any]) -> None:
    fastavro = pytest.importorskip("fastavro", reason="the extra avro is not installed")
    with file.open("wb") as out:
        fastavro.writer(out, AVRO, orders)


def order(number: int, **other: Any) -> dict[str, Any]:
    told = {
        "id": number, "at": NOON, "day": date(2024, 2, 29), "price": decimal.Decimal("12.30"), "buyer": {"name": "ä"},
        "tags": ["a"], "either": None, "raw": b"\0\xff", "kind": "A", "nothing": None,
    }  # fmt: skip
    return {**told, **other}


def test_avro_keeps_types_and_nested_values(tmp_path: Path, landing: Path):
    write_avro(landing / "1.avro", order(1), order(2**60, either="x", day=None))
    run(tmp_path, "avro", {"buyer_name": {"type": "string", "path": "buyer.name"}})
    first, second = rows(tmp_path)
    assert first == {
        "buyer_name": "ä", "buyer": '{"name": "ä"}', "id": 1, "at": NOON, "day": date(2024, 2, 29), "price": "12.30",
        "tags": '["a"]', "either": None, "raw": "AP8=", "kind": "A", "nothing": None, "_rescued_data": None,
    }  # fmt: skip
    assert (second["id"], second["either"], second["day"]) == (2**60, "x", None)


def test_bytes_stay_bytes_where_they_are_declared(tmp_path: Path, landing: Path):
    write_avro(landing / "1.avro", order(1))
    run(tmp_path, "avro", {"raw": "binary"})
    assert rows(tmp_path)[0]["raw"] == b"\0\xff"


def test_orc_keeps_types_and_nested_values(tmp_path: Path, landing: Path):
    told = {
        "id": pa.array([1, None], pa.int64()), "small": pa.array([1, 2], pa.int16()), "x": [1.5, float("inf")],
        "at": pa.array([NOON, None], pa.timestamp("us", "UTC")), "who": [{"name": "ä"}, None], "tags": [["a"], []],
        "price": pa.array([decimal.Decimal("1.50"), None]), "ok": [True, None], "day": [date(1969, 12, 31), None],
    }  # fmt: skip
    orc.write_table(pa.table(told), landing / "1.orc")
    run(tmp_path, "orc", {"name": {"type": "string", "path": "who.name"}})
    first, second = rows(tmp_path)
    assert first == {
        "name": "ä", "who": '{"name": "ä"}', "id": 1, "small": 1, "x": 1.5, "at": NOON, "tags": '["a"]',
        "price": "1.50", "ok": True, "day": date(1969, 12, 31), "_rescued_data": None,
    }  # fmt: skip
    assert (second["id"], second["x"], second["who"], second["tags"]) == (None, float("inf"), None, "[]")


def test_xml_rows_are_the_children_of_the_root(tmp_path: Path, landing: Path):
    (landing / "1.xml").write_text(
        """<?xml version="1.0" encoding="UTF-8"?><s:orders xmlns:s="urn:s">
        <order id="1"><at>2024-01-01T12:00:00Z</at><line n="1">pen</line><line n="2">ink</line><code>007</code></order>
        <order id="2"><buyer><name>ä &amp; b</name></buyer><at/><x><![CDATA[<raw>]]></x></order>
        <note>free text</note></s:orders>"""
    )
    run(tmp_path, "xml", {"name": {"type": "string", "path": "buyer.name"}, "at": "timestamp"})
    first, second, third = rows(tmp_path)
    lines = [{"_n": "1", "_VALUE": "pen"}, {"_n": "2", "_VALUE": "ink"}]
    assert (first["_id"], first["at"], json.loads(first["line"]), first["code"]) == (1, NOON, lines, "007")
    assert (second["name"], second["at"], second["x"], json.loads(second["buyer"])) == (
        "ä & b", None, "<raw>", {"name": "ä & b"}
    )  # fmt: skip
    assert third["_VALUE"] == "free text"


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY x "&a;&a;&a;">]>',
        "<!DOCTYPE r>",
    ],
)
def test_xml_with_a_doctype_is_refused(tmp_path: Path, landing: Path, doctype: str):
    (landing / "1.xml").write_text(f"{doctype}<r><v>&x;</v></r>" if "ENTITY" in doctype else f"{doctype}<r/>")
    with pytest.raises(UserError, match=r"1\.xml: The file is no readable XML: it declares a DOCTYPE"):
        run(tmp_path, "xml")


@pytest.mark.parametrize("file_format", ["avro", "orc", "xml"])
def test_a_file_that_is_torn_anywhere_is_refused_by_its_name_or_whole(tmp_path: Path, landing: Path, file_format: str):
    whole = landing / "1"
    if file_format == "avro":
        write_avro(whole, *(order(number) for number in range(20)))
    elif file_format == "orc":
        orc.write_table(pa.table({"id": list(range(20)), "s": ["x"] * 20}), whole)
    else:
        whole.write_text("<r>" + "".join(f"<o><id>{number}</id></o>" for number in range(20)) + "</r>")
    content = whole.read_bytes()
    source = FileSource(columns_of({}, "t"), "add_new_columns", file_format)
    complete = source.read(landing, ["1"], None, "t")[0]
    told = []
    for end in sorted({*range(0, len(content), max(1, len(content) // 60)), len(content) - 1}):
        whole.write_bytes(content[:end])
        try:
            assert source.read(landing, ["1"], None, "t")[0].equals(complete), end
        except UserError as exc:
            told.append(str(exc))
    assert len(told) > 10
    assert [text for text in told if not text.startswith(f"{whole}: The file")] == []


def test_files_of_any_kind_are_told_apart_by_their_hash(tmp_path: Path, landing: Path):
    (landing / "a.png").write_bytes(b"\x89PNG\0")
    (landing / "b.pdf").write_bytes(b"%PDF-1.7")
    (landing / "c").write_bytes(b"")
    os.utime(landing / "a.png", ns=(0, 1_700_000_000_000_000_000))
    assert run(tmp_path, "files", changed_files="reload").num_rows == 3
    first, second, third = rows(tmp_path)
    assert first == {
        "path": "a.png", "sha256": hashlib.sha256(b"\x89PNG\0").hexdigest(), "size_bytes": 5, "mime_type": "image/png",
        "modified_at": datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC), "_rescued_data": None,
    }  # fmt: skip
    assert (second["mime_type"], third["mime_type"], third["size_bytes"]) == (
        "application/pdf",
        "application/octet-stream",
        0,
    )

    before = lake(tmp_path).version("raw/t")
    os.utime(landing / "a.png")
    touched = run(tmp_path, "files", changed_files="reload")
    assert (touched.files, touched.reloaded, lake(tmp_path).version("raw/t")) == ((), (), before)
    (landing / "b.pdf").write_bytes(b"%PDF-2.0")
    os.utime(landing / "c")
    (landing / "d.txt").write_text("new")
    report = run(tmp_path, "files", changed_files="reload")
    assert (report.files, report.reloaded) == (("b.pdf", "d.txt"), ("b.pdf",))
    assert [row["path"] for row in rows(tmp_path)] == ["a.png", "b.pdf", "c", "d.txt"]
    assert rows(tmp_path)[1]["sha256"] == hashlib.sha256(b"%PDF-2.0").hexdigest()
    assert run(tmp_path, "files", changed_files="reload").files == ()


def test_the_bytes_of_files_are_kept_where_that_is_asked(tmp_path: Path, landing: Path):
    (landing / "a.bin").write_bytes(bytes(range(256)) * 5000)
    run(tmp_path, "files", contents=True)
    assert rows(tmp_path)[0]["content"] == bytes(range(256)) * 5000


def test_a_path_within_a_whole_file_is_refused():
    with pytest.raises(UserError, match="Column 'a' has a path, but files has no nested values"):
        named_format("files", columns_of({"a": {"type": "string", "path": "b.c"}}, "t"), "t")
