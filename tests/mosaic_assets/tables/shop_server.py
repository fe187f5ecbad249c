"""A shop's API as a process of its own: pages in every way, and failures in the order that the test wrote down.

``python shop_server.py PORT FOLDER``: ``FOLDER/orders.json`` are the orders, ``FOLDER/faults.json`` a list of what
becomes of the next requests (``null``: nothing), ``FOLDER/asked`` the paths that were asked for.
"""

import json
import sys
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

PORT, FOLDER = int(sys.argv[1]), Path(sys.argv[2])


def next_fault():
    file = FOLDER / "faults.json"
    faults = json.loads(file.read_text()) if file.exists() else []
    file.write_text(json.dumps(faults[1:]))
    return faults[0] if faults else None


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        with (FOLDER / "asked").open("a") as asked:
            asked.write(f"{self.path} {time.time()}\n")
        fault = next_fault()
        if fault == "cut before":
            return self.close()
        if fault == "silent":
            time.sleep(3)
            return self.close()
        if isinstance(fault, int):
            return self.answer(fault, {"error": "try later"})
        if fault == "later":
            return self.answer(429, {}, {"Retry-After": "1"})
        if fault == "later by date":
            return self.answer(503, {}, {"Retry-After": formatdate(time.time() + 2, usegmt=True)})
        if self.headers.get("Authorization") != "Bearer hushhush":
            return self.answer(401, {"error": f"no such token: {self.headers.get('Authorization')}"})
        return self.page(fault)

    def page(self, fault):
        parts = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        orders = json.loads((FOLDER / "orders.json").read_text())
        orders = [one for one in orders if one["at"] >= asked.get("since", "")]
        size, kind = 2, parts.path.strip("/")
        start = int(asked.get("offset", asked.get("after", 0))) or (int(asked.get("page", 1)) - 1) * size
        rows, more = orders[start : start + size], start + size < len(orders)
        here = f"http://127.0.0.1:{PORT}"
        following = f"/{kind}?offset={start + size}" + (f"&since={asked['since']}" if "since" in asked else "")
        if kind == "bare":
            return self.answer(200, orders, fault=fault)
        if kind == "away":
            return self.answer(200, {"orders": rows, "next": "http://localhost:1/"})
        if kind == "circle":
            return self.answer(200, {"orders": rows, "next": self.path})
        body = {"data": {"orders": rows}, "next": {"after": start + size if more else None}}
        body["next"]["url"] = (following if start else here + following) if more else None
        links = {"Link": f'<{here}{following}>; rel="next"'} if more else {}
        return self.answer(200, body, links if kind == "link" else {}, fault)

    def answer(self, status, body, headers=None, fault=None):
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if fault != "cut unseen":
            self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close" if fault else "keep-alive")
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if fault in ("cut within", "cut unseen") else content)
        if fault:
            self.close()

    def close(self):
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(2)

    def log_message(self, *told):
        pass


ThreadingHTTPServer(("127.0.0.1", PORT), Shop).serve_forever()
