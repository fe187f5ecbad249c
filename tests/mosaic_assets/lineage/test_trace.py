"""The walk from a prediction to its files, and from a file down."""

import json
from types import SimpleNamespace

import pytest

from mosaic_assets.lineage.names import landed_file_use
from mosaic_assets.lineage.render import as_dict, as_text
from mosaic_assets.lineage.trace import Node, trace_dataset, trace_down, trace_model, trace_prediction
from mosaic_resources.errors import UserError
from mosaic_resources.outbox.outbox import Outbox

ROW = {"request_id": "q-1", "model_version": "1", "served_entity_id": "delay/1", "status_code": 200}


def spine(node: Node) -> list[str]:
    """The way along first children."""
    return [node.kind, *(spine(node.children[0]) if node.children else [])]


def names(node: Node, kind: str) -> set[tuple[str, str | None]]:
    return {(each.name, each.version) for each in node.walk() if each.kind == kind}


def test_trace_prediction_reaches_its_files_alone(outbox: Outbox, story: SimpleNamespace) -> None:
    story.tell(outbox)
    way = trace_prediction(outbox, ROW)
    assert spine(way) == [
        "prediction", "endpoint", "service", "model", "run", "dataset", "feature view", "table", "table", "file",
    ]  # fmt: skip
    # The model was trained on the dataset's version 0... the files that landed later are no part of it.
    assert names(way, "dataset") == {("datasets/delay", "0")}
    assert names(way, "table") == {("tables/flights", "0"), ("raw/flights", "0")}
    assert names(way, "file") == {("/landing/2013-05.csv", None)}
    assert names(way, "run") == {("mlflow-1", None)}
    assert way.details["status_code"] == "200"


def test_trace_dataset_gathers_partitions_and_appends(outbox: Outbox, story: SimpleNamespace) -> None:
    story.tell(outbox)
    newest = trace_dataset(outbox, "datasets/delay")
    assert newest.version == "2"
    assert names(newest, "table") == {("tables/flights", "2"), ("raw/flights", "2")}
    assert names(newest, "file") == {(f"/landing/2013-0{month}.csv", None) for month in (5, 6, 7)}
    assert len(names(trace_dataset(outbox, "datasets/delay", "1"), "file")) == 2
    twice = [node for node in newest.walk() if node.name == "tables/flights"]
    assert [node.repeated for node in twice] == [False, True]


def test_trace_takes_the_newest_write_of_a_partition(outbox: Outbox, story: SimpleNamespace) -> None:
    for version, (month, source) in enumerate([("05", "old"), ("06", "june"), ("05", "new")]):
        reads = [landed_file_use(f"/landing/{source}"), story.table("raw/x", 0)]
        story.made(outbox, "tables/x", reads, story.table("tables/x", version), month, run=source)
    assert names(trace_dataset(outbox, "tables/x"), "file") == {("/landing/new", None), ("/landing/june", None)}
    assert names(trace_dataset(outbox, "tables/x", "1"), "file") == {("/landing/old", None), ("/landing/june", None)}


def test_trace_stops_at_an_overwrite_and_at_a_loop(outbox: Outbox, story: SimpleNamespace) -> None:
    for version, source in enumerate(("first", "second")):
        story.made(outbox, "tables/y", [story.table(f"raw/{source}", 0)], story.table("tables/y", version), run=source)
    story.made(outbox, "raw/second", [story.table("tables/y", 1)], story.table("raw/second", 0))
    way = trace_dataset(outbox, "tables/y")
    assert names(way, "table") == {("tables/y", "1"), ("raw/second", "0")}


def test_trace_down_finds_everything_made_of_a_file(outbox: Outbox, story: SimpleNamespace) -> None:
    story.tell(outbox)
    down = trace_down(outbox, "2013-05.csv")
    assert {node.name for node in down.walk()} == {
        "/landing/2013-05.csv", "raw/flights", "tables/flights", "features/aircraft", "datasets/delay", "delay",
        "services/delay",
    }  # fmt: skip


def test_trace_model_looks_among_models_alone(outbox: Outbox, story: SimpleNamespace) -> None:
    story.tell(outbox)
    way = trace_model(outbox, "delay")
    assert (way.kind, way.version) == ("model", "1")
    assert "/landing/2013-05.csv" in {node.name for node in way.walk()}
    with pytest.raises(UserError, match="No step has registered the model 'delay' version 7. Known versions: 1"):
        trace_model(outbox, "delay", "7")
    with pytest.raises(UserError, match="No step has registered the model 'dela'. Materialize"):
        trace_model(outbox, "dela")


def test_trace_without_a_trace(outbox: Outbox, story: SimpleNamespace) -> None:
    with pytest.raises(UserError, match="No step has read or written 'tables/x'"):
        trace_dataset(outbox, "tables/x")
    with pytest.raises(UserError, match="request q: The row names no model version"):
        trace_prediction(outbox, {"request_id": "q"})
    story.tell(outbox)
    lost = trace_prediction(outbox, ROW | {"model_version": "9", "served_entity_id": "delay/9"})
    assert spine(lost) == ["prediction", "endpoint", "model"]
    assert "no lineage of it was kept" in as_text(lost)
    with pytest.raises(UserError, match="'flights' names several datasets"):
        trace_dataset(outbox, "flights")


def test_render_text_and_json(outbox: Outbox, story: SimpleNamespace) -> None:
    for number in range(20):
        story.made(outbox, "raw/z", [landed_file_use(f"/landing/[{number:02}].csv")], story.table("raw/z", number))
    way = trace_dataset(outbox, "raw/z")
    text = as_text(way)
    assert "table raw/z @ 19" in text
    assert "20 files /landing/[00].csv … [19].csv\n" in text
    assert "─ file /landing/[01].csv" in as_text(trace_dataset(outbox, "raw/z", "1"))
    plain = json.loads(json.dumps(as_dict(way)))
    assert (plain["kind"], plain["version"], len(plain["children"])) == ("table", "19", 20)
