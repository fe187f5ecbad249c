"""A steady load counts what it sent, what failed, and who answered."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mosaic_assets.predictions.load import Load


class Half(BaseHTTPRequestHandler):
    """Answers a body that says 1 and refuses the others."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        body = json.dumps({"model_version": "7", "at": self.headers["x-mosaic-time"]}).encode()
        self.send_response(200 if asked == 1 else 503)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Half)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_load_tells_each_answer_with_the_index_of_its_body(url: str) -> None:
    seen: Counter[tuple[int, str]] = Counter()
    load = Load(
        url, ["0", "1", "1"], requests_per_second=500, min_requests=30, headers={"x-mosaic-time": "then"},
        on_answer=lambda index, answer: seen.update([(index, answer["at"])]),
    )  # fmt: skip
    report = load.start().finish()
    assert (report.num_requests, report.num_failed, report.failures) == (30, 10, {"HTTP 503": 10})
    assert report.versions == {"7": 20}
    assert seen == {(1, "then"): 10, (2, "then"): 10}
    assert len(report.seconds) == 20
