"""Sending: a file, and a real collector that is up, dead, silent, broken or picky."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mosaic_resources.errors import DependencyError, UserError
from mosaic_resources.outbox.drain import drain
from mosaic_resources.outbox.outbox import NewEvent, Outbox
from mosaic_resources.outbox.senders import FileSender, HttpSender, make_sender
from mosaic_resources.settings.settings import load_settings


class Collector(ThreadingHTTPServer):
    """A collector that keeps what it is sent; ``answer`` maps an event to a status, None: no answer."""

    daemon_threads = True

    def __init__(self) -> None:
        self.received: list[dict[str, object]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.answer: Callable[[dict[str, object]], int | None] = lambda event: 201
        self.released = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = collector.answer(event)
                if status is None:
                    collector.released.wait(20)
                    return
                if 200 <= status < 300:
                    collector.received.append(event)
                    collector.headers.append(dict(self.headers))
                    collector.paths.append(self.path)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    box = Outbox(tmp_path / "outbox.db")
    box.add([NewEvent(f"run-{n}", "START", "t", json.dumps({"number": n})) for n in range(10)])
    return box


def numbers(collector: Collector) -> list[object]:
    return [event["number"] for event in collector.received]


def test_drain_sends_in_order_and_once(outbox: Outbox, collector: Collector) -> None:
    sender = HttpSender(collector.url + "/", api_key="the-key")
    report = drain(outbox, sender)
    assert (report.sent, report.waiting, report.problem) == (10, 0, None)
    assert drain(outbox, sender).sent == 0
    sender.close()
    assert numbers(collector) == list(range(10))
    assert set(collector.paths) == {"/api/v1/lineage"}
    assert collector.headers[0]["Authorization"] == "Bearer the-key"


def test_drain_leaves_rows_at_a_broken_collector_and_goes_on_later(outbox: Outbox, collector: Collector) -> None:
    collector.answer = lambda event: 500 if event["number"] == 4 else 200
    report = drain(outbox, HttpSender(collector.url))
    assert (report.sent, report.waiting) == (4, 6)
    assert report.problem == f"{collector.url}: The lineage collector answers 500."
    collector.answer = lambda event: 200
    assert drain(outbox, HttpSender(collector.url)).sent == 6
    assert numbers(collector) == list(range(10))


@pytest.mark.parametrize("status", [302, 401, 404, 429, 503])
def test_drain_tries_again_what_may_pass(status: int, outbox: Outbox, collector: Collector) -> None:
    collector.answer = lambda event: status
    assert drain(outbox, HttpSender(collector.url)).waiting == 10


def test_drain_passes_over_what_is_refused(outbox: Outbox, collector: Collector) -> None:
    collector.answer = lambda event: 422 if event["number"] == 4 else 200
    report = drain(outbox, HttpSender(collector.url))
    assert (report.sent, report.refused, report.waiting) == (9, 1, 0)
    assert 4 not in numbers(collector)
    collector.answer = lambda event: 200
    assert outbox.replay() == 10
    assert drain(outbox, HttpSender(collector.url)).sent == 10


def test_drain_returns_soon_from_a_silent_collector(outbox: Outbox, collector: Collector) -> None:
    collector.answer = lambda event: None
    began = time.monotonic()
    report = drain(outbox, HttpSender(collector.url, timeout_seconds=0.2))
    assert time.monotonic() - began < 2
    assert (report.sent, report.waiting) == (0, 10)
    assert report.problem == f"{collector.url}: The lineage collector does not answer: ReadTimeout."


def test_drain_returns_soon_from_a_dead_collector(outbox: Outbox, collector: Collector) -> None:
    address = f"http://user:secret@127.0.0.1:{collector.server_port}"
    collector.socket.close()
    began = time.monotonic()
    report = drain(outbox, HttpSender(address))
    assert time.monotonic() - began < 2
    assert report.waiting == 10
    assert report.problem is not None
    assert "ConnectError" in report.problem
    assert "secret" not in report.problem


def test_drain_two_at_once_send_each_event_once(outbox: Outbox, collector: Collector) -> None:
    outbox.add([NewEvent(f"run-{n}", "START", "t", json.dumps({"number": n})) for n in range(10, 100)])
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: drain(Outbox(outbox.file), HttpSender(collector.url)), range(4)))
    assert sorted(numbers(collector)) == list(range(100))  # type: ignore[type-var]
    assert sum(report.sent for report in reports) == 100


def test_drain_stops_when_time_is_up(outbox: Outbox, collector: Collector) -> None:
    assert drain(outbox, HttpSender(collector.url), budget_seconds=0).waiting == 10


def test_drain_is_not_stopped_by_a_row_that_makes_no_event(outbox: Outbox, tmp_path: Path) -> None:
    def encode(body: str) -> list[str]:
        if '"number": 3' in body:
            raise ValueError("odd")
        return [body, body.replace("number", "twin")]

    report = drain(outbox, FileSender(tmp_path / "events.jsonl"), encode)
    assert (report.sent, report.refused, report.waiting) == (9, 1, 0)
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 18


def test_drain_of_nothing(tmp_path: Path) -> None:
    report = drain(Outbox(tmp_path / "none.db"), FileSender(tmp_path / "events.jsonl"))
    assert (report.sent, list(tmp_path.iterdir())) == (0, [])


def test_file_sender_mends_a_torn_line_and_does_not_repeat(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    FileSender(file).send(['{"a":1}', '{"b":2}'])
    FileSender(file).send(['{"a":1}', '{"b":2}', '{"c":3}'])  # killed before the mark: sent again
    with file.open("a") as stream:
        stream.write('{"torn":')
    FileSender(file).send(['{"c":3}', '{"d":"' + "4" * 200_000 + '"}'])
    FileSender(file).send(['{"e":5}'])
    assert [next(iter(json.loads(line))) for line in file.read_text().splitlines()] == ["a", "b", "c", "d", "e"]


def test_file_sender_tells_what_the_disk_says(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").mkdir()
    with pytest.raises(DependencyError, match=r"events\.jsonl: The lineage event cannot be written: Is a directory"):
        FileSender(tmp_path / "events.jsonl").send(["{}"])


def test_make_sender_honours_the_variables(tmp_path: Path) -> None:
    assert isinstance(make_sender(load_settings(tmp_path, {})), FileSender)
    env = {
        "OPENLINEAGE_URL": "http://collector:5000",
        "OPENLINEAGE_API_KEY": "planted",
        "OPENLINEAGE_ENDPOINT": "lineage",
    }
    sender = make_sender(load_settings(tmp_path, env), env)
    assert isinstance(sender, HttpSender)
    assert "planted" not in repr(sender)
    with pytest.raises(UserError, match="OPENLINEAGE_URL is no http address"):
        HttpSender("collector:5000")
