"""A customer's own server that keeps what providers post to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from typing_extensions import override


@dataclass(frozen=True, slots=True)
class Post:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Posts:
    url: str = ""
    kept: list[Post] = field(default_factory=list)

    def wait_for(self, count: int) -> list[Post]:
        deadline = time.monotonic() + 8
        while len(self.kept) < count and time.monotonic() < deadline:
            time.sleep(0.01)  # the posts come from another thread; the deadline bounds it
        assert len(self.kept) >= count, f"{len(self.kept)} posts came instead of {count}"
        return self.kept


@contextmanager
def posts() -> Iterator[Posts]:
    kept = Posts()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # its name
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            kept.kept.append(Post(self.path, headers, body))
            self.send_response(204)
            self.end_headers()

        @override
        def log_message(self, format: str, *args: Any) -> None:  # its name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()
