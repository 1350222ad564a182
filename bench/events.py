"""Events a second into a real daemon, one and a hundred a request, against a bare Starlette app that does nothing.

Each answer of the daemon comes after the events are on disk. Run as ``python -m bench.events REQUESTS``; prints one
JSON object.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import orjson
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator.channel.transport import Answer, Transport
from tests.far_end import free_port, wait_for

KEY = "bench"
CONNECTIONS = 64
USERS = 5_000
MANY = 100


async def _nothing(request: Request) -> Response:
    await request.body()
    return Response(b'{"accepted":1,"known":0}', 202, media_type="application/json")


async def _healthz(_request: Request) -> Response:
    return Response(b"{}", media_type="application/json")


def bare(port: int) -> None:
    """The reference: takes a body, answers."""
    app = Starlette(routes=[Route("/v1/events", _nothing, methods=["POST"]), Route("/healthz", _healthz)])
    uvicorn.run(app, port=port, http="httptools", loop="uvloop", log_level="error", access_log=False)


@contextmanager
def _process(command: Sequence[str], port: int, environment: dict[str, str]) -> Iterator[None]:
    running = subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: _up(port), "the server to answer", seconds=30)
        yield
    finally:
        running.terminate()
        running.wait(30)


def _up(port: int) -> bool:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status in {200, 503}
    except OSError:
        return False
    finally:
        connection.close()


def _bodies(requests: int, each: int, prefix: str) -> list[bytes]:
    events = (
        {"user": f"user-{(r * each + n) % USERS}", "name": "app_open", "id": f"{prefix}-{r}-{n}"}
        for r in range(requests)
        for n in range(each)
    )
    return [orjson.dumps({"events": [next(events) for _ in range(each)]}) for _ in range(requests)]


async def _post(port: int, bodies: list[bytes]) -> float:
    """Requests a second, ``CONNECTIONS`` at a time."""
    transport = Transport(timedelta(seconds=30))
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    left = iter(bodies)

    async def one_after_another() -> None:
        for body in left:
            answer = await transport.request("POST", f"http://127.0.0.1:{port}/v1/events", headers=headers, body=body)
            assert isinstance(answer, Answer)
            assert answer.status == 202, answer.body

    began = time.perf_counter()
    await asyncio.gather(*(one_after_another() for _ in range(CONNECTIONS)))
    seconds = time.perf_counter() - began
    await transport.close()
    return len(bodies) / seconds


def measure(requests: int) -> dict[str, object]:
    """Both servers, both sizes; a tenth as many requests of a hundred events."""
    few = max(requests // 10, CONNECTIONS)
    sizes = {"one": _bodies(requests, 1, "a"), "hundred": _bodies(few, MANY, "b")}
    figures: dict[str, object] = {"connections": CONNECTIONS}
    with tempfile.TemporaryDirectory() as folder:
        rates = _rates(sizes, [sys.executable, "-m", "orchestrator", "run"], _settings(Path(folder)))
    with_bare = _rates(sizes, [sys.executable, "-m", "bench.events", "bare"], {})
    for size, events in (("one", 1), ("hundred", MANY)):
        figures |= {
            f"{size}_a_request": round(rates[size] * events),
            f"{size}_a_request_bare": round(with_bare[size] * events),
            f"{size}_ratio": round(with_bare[size] / rates[size], 2),
        }
    return figures


def _settings(folder: Path) -> dict[str, str]:
    config = folder / "orchestrator.yaml"
    config.write_text(json.dumps({"database": str(folder / "bench.db"), "api_keys": [KEY]}))
    return {"ORCHESTRATOR_CONFIG": str(config)}


def _rates(sizes: dict[str, list[bytes]], command: list[str], environment: dict[str, str]) -> dict[str, float]:
    port = free_port()
    told = [*command, str(port)] if not environment else command
    with _process(told, port, {**environment, "ORCHESTRATOR_PORT": str(port)}):
        uvloop.run(_post(port, _bodies(200, 1, "warm")))
        return {size: uvloop.run(_post(port, bodies)) for size, bodies in sizes.items()}


if __name__ == "__main__":
    if sys.argv[1] == "bare":
        bare(int(sys.argv[2]))
    else:
        print(json.dumps(measure(int(sys.argv[1]))))
