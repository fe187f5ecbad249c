"""Real HTTP against a real process."""

import json
import math
import socket
import uuid
from typing import Any

import httpx
import orjson
import pytest

from mosaic_resources.bentos.process import Endpoint
from mosaic_resources.spool.reader import read_records, segments

Row = dict[str, Any]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def logged(story: Any) -> list[Row]:
    return [orjson.loads(p) for segment in segments(story.spool, "flights") for p, _ in read_records(segment.path)]


def test_answer_comes_from_lookup_on_demand_and_model(client: httpx.Client, row: Row) -> None:
    answer = client.post("/v1/predict", json=row).json()
    # delay 30, 2 hours ahead, seen 3 hours ago, no temperature, JFK has code 1
    expected = sigmoid(0.01 * 30 + 0.1 * 2 - 0.1 * 3 + 0.2 * 1)
    assert answer["predictions"][0]["probability"] == pytest.approx(expected, rel=1e-6)
    assert answer["predictions"][0]["label"] == 1
    assert answer["threshold"] == 0.5
    assert (answer["model"], answer["model_version"]) == ("late", "1")
    assert answer["missing_features"] == {}
    assert uuid.UUID(answer["request_id"]).version == 7


def test_page_of_the_address_is_ours_and_loads_nothing(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/plain")
    assert "late version 1 answers" in page.text
    assert "tailnum (string)" in page.text
    assert "from a probability of 0.5 on" in page.text


def test_body_forms_of_mlflow_give_the_same_answer(client: httpx.Client, row: Row) -> None:
    split = {"columns": list(row), "index": [0], "data": [list(row.values())]}
    bodies = [
        ("/v1/predict", row),
        ("/v1/predict", [row]),
        ("/invocations", {"dataframe_records": [row]}),
        ("/invocations", {"dataframe_split": split}),
        ("/invocations", {"inputs": {name: [value] for name, value in row.items()}}),
        ("/invocations", {"inputs": [row]}),
    ]
    answers = [client.post(path, json=body) for path, body in bodies]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["predictions"][0]["probability"] for answer in answers}) == 1
    assert len({answer.json()["request_id"] for answer in answers}) == len(answers)


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"tailnum": "unknown"}, {"aircraft"}),
        ({"tailnum": "N2"}, {"aircraft"}),  # past its TTL
        ({"tailnum": "N3"}, {"aircraft"}),  # not yet known
        ({"origin": "EWR"}, {"weather"}),
        ({"tailnum": "x" * 500, "origin": "\0"}, {"aircraft", "weather"}),
    ],
)
def test_unknown_entity_is_answered_marked_and_counted(
    client: httpx.Client, row: Row, change: Row, missing: set[str]
) -> None:
    before = client.get("/metrics").text
    answer = client.post("/v1/predict", json=row | change)
    assert answer.status_code == 200
    found = answer.json()["missing_features"]
    assert {name.partition("__")[0] for name in found} == missing
    assert set(found.values()) == {1}
    feature = f'mosaic_missing_features_total{{feature="{next(iter(found))}"}}'
    assert count(client.get("/metrics").text, feature) == count(before, feature) + 1


def count(text: str, name: str) -> float:
    return next((float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name)), 0.0)


def test_rows_of_a_batch_are_counted_each(client: httpx.Client, row: Row) -> None:
    answer = client.post("/v1/predict", json=[row, row | {"tailnum": "?"}, row | {"tailnum": "??"}]).json()
    assert len(answer["predictions"]) == 3
    assert answer["missing_features"]["aircraft__delay"] == 2


def test_large_batch_is_answered(client: httpx.Client, row: Row) -> None:
    answer = client.post("/v1/predict", json=[row] * 3000)
    assert len(answer.json()["predictions"]) == 3000


def without(row: Row, name: str) -> Row:
    return {key: value for key, value in row.items() if key != name}


BAD = [
    (lambda row: row | {"tailnumber": 1}, "UNKNOWN_FIELD", "tailnumber"),
    (lambda row: without(row, "origin"), "MISSING_FIELD", "origin"),
    (lambda row: row | {"flight": "7"}, "WRONG_TYPE", "flight"),
    (lambda row: row | {"flight": 7.0}, "WRONG_TYPE", "flight"),
    (lambda row: row | {"flight": True}, "WRONG_TYPE", "flight"),
    (lambda row: row | {"flight": 2**63}, "WRONG_TYPE", "flight"),
    (lambda row: row | {"tailnum": None}, "WRONG_TYPE", "tailnum"),
    (lambda row: row | {"tailnum": ["N1"]}, "WRONG_TYPE", "tailnum"),
    (lambda row: row | {"tailnum": "x" * 2000}, "WRONG_TYPE", "tailnum"),
    (lambda row: row | {"sched_dep": "yesterday"}, "WRONG_TYPE", "sched_dep"),
    (lambda row: row | {"sched_dep": 1372687200000}, "WRONG_TYPE", "sched_dep"),
    (lambda row: row | {"sched_dep": "0001-01-01T00:00:00+23:59"}, "WRONG_TYPE", "sched_dep"),
    (lambda row: [], "BAD_ROW_COUNT", None),
    (lambda row: [row, 1], "BAD_REQUEST", None),
    (lambda row: 1, "BAD_REQUEST", None),
    (lambda row: "text", "BAD_REQUEST", None),
]


@pytest.mark.parametrize(("change", "code", "field"), BAD)
def test_wrong_body_is_400_and_names_the_field(
    client: httpx.Client, row: Row, change: Any, code: str, field: str
) -> None:
    bodies = [("/v1/predict", change(row)), ("/invocations", {"inputs": change(row)})]
    if isinstance(change(row), dict):
        bodies[1] = ("/invocations", {"dataframe_records": [change(row)]})
    for path, body in bodies:
        answer = client.post(path, json=body)
        assert answer.status_code == 400, answer.text
        if path == "/v1/predict":
            assert (answer.json()["error_code"], answer.json()["field"]) == (code, field)
        assert field is None or field in answer.json()["message"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"dataframe_split": {}},
        {"dataframe_split": {"columns": [], "data": []}},
        {"dataframe_split": {"columns": ["a", "a"], "data": []}},
        {"dataframe_split": {"columns": [1], "data": [[1]]}},
        {"dataframe_split": {"columns": ["tailnum", "origin", "flight", "sched_dep"], "data": [[1]]}},
        {"dataframe_split": {"columns": ["tailnum", "origin", "flight", "sched_dep"], "data": 1}},
        {"dataframe_split": {"columns": [], "data": [], "more": 1}},
        {"dataframe_records": 3},
        {"inputs": {"tailnum": 1}},
        {"inputs": {}},
        {"instances": []},
        {"inputs": [], "params": {}},
        {"inputs": {"tailnum": ["a"], "origin": [], "flight": [1], "sched_dep": ["2013-01-01"]}},
        {"client_request_id": 7, "inputs": []},
        [],
        "text",
    ],
)
def test_wrong_invocations_are_400(client: httpx.Client, body: Any) -> None:
    answer = client.post("/invocations", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"NaN", b"[" * 5000, b'"\\ud800"', b'{"a":' * 3000])
def test_junk_is_400(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/v1/predict", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error_code"]) == (400, "MALFORMED_JSON")


@pytest.mark.parametrize("kind", ["application/vnd.bentoml+pickle", "text/plain", "multipart/form-data; boundary=x"])
def test_other_content_types_are_415(client: httpx.Client, kind: str) -> None:
    assert client.post("/v1/predict", content=b"{}", headers={"content-type": kind}).status_code == 415


def test_wrong_method_and_path(client: httpx.Client) -> None:
    assert client.get("/v1/predict").status_code == 405
    assert client.post("/nowhere", json={}).status_code == 404


def test_large_body_is_413_whether_announced_or_not(client: httpx.Client) -> None:
    announced = client.post("/v1/predict", content=b"x" * (5 << 20), headers={"content-type": "application/json"})
    assert announced.status_code == 413

    chunks = (b"x" * 65536 for _ in range(100))
    streamed = client.post("/v1/predict", content=chunks, headers={"content-type": "application/json"})
    assert streamed.status_code == 413


def test_half_sent_body_does_not_stop_the_others(endpoint: Endpoint, client: httpx.Client, row: Row) -> None:
    with socket.create_connection((endpoint.host, endpoint.port)) as half:
        half.sendall(
            b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{"
        )
        assert client.post("/v1/predict", json=row).status_code == 200
        half.settimeout(10)
        assert b" 408 " in half.recv(4096)


def test_failing_on_demand_function_is_a_clean_500(client: httpx.Client, row: Row) -> None:
    answer = client.post("/v1/predict", json=row | {"flight": 13})
    assert (answer.status_code, answer.json()["error_code"]) == (500, "MODEL_FAILED")
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


def test_health_and_identity(client: httpx.Client) -> None:
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").status_code == 200
    assert client.get("/v1/model").json()["model_version"] == "1"
    text = client.get("/metrics").text
    assert 'mosaic_model_info{service="flights",model="late",model_version="1"' in text
    assert count(text, 'mosaic_request_duration_seconds_bucket{le="+Inf"}') == count(
        text, "mosaic_request_duration_seconds_count"
    )


def test_callers_id_is_kept_beside_ours(client: httpx.Client, row: Row, story: Any) -> None:
    header = client.post("/v1/predict", json=row, headers={"x-request-id": "theirs"}).json()
    body = client.post("/invocations", json={"inputs": [row], "client_request_id": "mine"}).json()
    assert (header["client_request_id"], body["client_request_id"]) == ("theirs", "mine")
    assert header["request_id"] != "theirs"
    by_id = {record["request_id"]: record for record in logged(story)}
    assert by_id[header["request_id"]]["client_request_id"] == "theirs"


def test_every_answer_is_logged_before_it_leaves(client: httpx.Client, row: Row, story: Any) -> None:
    good, bad = client.post("/v1/predict", json=row), client.post("/v1/predict", json={"x": 1})
    by_id = {record["request_id"]: record for record in logged(story)}
    record = by_id[good.json()["request_id"]]
    assert json.loads(record["response"]) == good.json()
    assert json.loads(record["request"]) == row
    assert record["timestamp_ms"] == 1372680000000
    assert record["served_entity_id"] == "late/1"
    assert record["execution_duration_ms"] > 0
    assert json.loads(record["features"]) == [
        {
            "aircraft__delay": 30.0,
            "aircraft__seen": "2013-07-01T09:00:00.000000Z",
            "aircraft__type": "A320",
            "weather__temp": None,
        }
    ]
    assert by_id[bad.json()["request_id"]]["status_code"] == 400


def test_time_header_must_be_a_time(client: httpx.Client, row: Row) -> None:
    answer = client.post("/v1/predict", json=row, headers={"x-mosaic-time": "soon"})
    assert (answer.status_code, answer.json()["field"]) == (400, "x-mosaic-time")
