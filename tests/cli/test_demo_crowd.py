"""The crowd against a sandbox and an app server of this test: nothing is lost, nothing is done before its time."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from typing_extensions import override

from orchestrator.cli.demo.crowd import Crowd
from orchestrator.cli.demo.loopback import Loopback, UnreachableError
from orchestrator.cli.demo.people import Person, Token
from orchestrator.cli.demo.project import free_port
from orchestrator.clock import AcceleratedClock, SystemClock

START = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


@dataclass
class Town:
    """What the far ends were asked, and what they answer."""

    port: int = 0
    messages: list[dict[str, Any]] = field(default_factory=list)
    posted: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    busy: int = 0


@pytest.fixture
def town() -> Iterator[Town]:
    there = Town()

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            after = int(self.path.partition("after=")[2].partition("&")[0])
            self.answer(200, {"messages": [one for one in there.messages if one["seq"] > after]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if there.busy:
                there.busy -= 1
                self.answer(503, {"error": "send it again"})
                return
            there.posted.append((self.path, body))
            self.answer(202, {})

        def answer(self, status: int, content: object) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        @override
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        server.daemon_threads = True
        there.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield there
        server.shutdown()


def person(number: int) -> Person:
    where = ("Asia/Shanghai", "CN", "Asia/Shanghai")
    tokens = (Token(f"token-{number}", START.date()),)
    agreed = (("push", True),)
    return Person(f"u-{number}", "王安", "zh-CN", *where, tokens, f"+86131{number:08d}", agreed, "", 30, 31, 30.0)


@pytest.fixture
def crowd(town: Town) -> Iterator[Crowd]:
    clock = AcceleratedClock(START, 1.0, SystemClock().machine())
    lines = Loopback(town.port), Loopback(town.port)
    yield Crowd([person(number) for number in range(200)], clock, *lines)
    for line in lines:
        line.close()


def pass_by(crowd: Crowd, span: timedelta) -> None:
    crowd.clock.start += span


def messages(kind: str, crowd: Crowd) -> list[dict[str, Any]]:
    unix = crowd.clock.machine().timestamp()
    to = {"fcm": "token-{}", "twilio": "+86131{:08d}"}[kind]
    common = {"provider": kind, "time": unix, "title": "", "body": "免配送费券"}
    return [{**common, "seq": n + 1, "to": to.format(n), "message_id": str(1000 + n)} for n in range(200)]


def events(town: Town) -> list[dict[str, Any]]:
    return [event for path, body in town.posted if path == "/v1/events" for event in body["events"]]


def test_people_open_the_app_unasked_when_their_time_has_come(town: Town, crowd: Crowd) -> None:
    crowd.live(START + timedelta(days=2))
    crowd.step()
    assert events(town) == []
    pass_by(crowd, timedelta(days=2))
    crowd.step()
    told = events(town)
    assert len(told) == len(crowd.done) > 50
    assert len({event["id"] for event in told}) == len(told)
    assert all(START.isoformat() <= event["at"] <= crowd.clock.now().isoformat() for event in told)


def test_pushes_are_opened_by_some_with_the_id_of_the_message(town: Town, crowd: Crowd) -> None:
    crowd.live(START)
    town.messages = messages("fcm", crowd)
    crowd.step()
    assert crowd.arrived == 200
    pass_by(crowd, timedelta(hours=5))
    crowd.step()
    opened = [event for event in events(town) if event["name"] == "message_opened"]
    assert opened
    assert all(int(event["message_id"]) - 1000 == int(event["user"].removeprefix("u-")) for event in opened)
    assert {"app_open", "order_paid"} <= {event["name"] for event in events(town)}


def test_stop_is_said_from_the_phone_that_got_the_text(town: Town, crowd: Crowd) -> None:
    crowd.live(START)
    town.messages = messages("twilio", crowd)
    crowd.step()
    pass_by(crowd, timedelta(hours=5))
    crowd.step()
    replies = [body for path, body in town.posted if path == "/sandbox/reply"]
    assert {reply["to"] for reply in replies} == {f"+86131{int(a.person[2:]):08d}" for a in crowd.done if a.text}
    assert replies


def test_a_busy_server_gets_the_same_events_again(town: Town, crowd: Crowd) -> None:
    crowd.live(START + timedelta(days=1))
    pass_by(crowd, timedelta(days=1))
    town.busy = 1
    crowd.step()
    assert crowd.done == []
    crowd.step()
    assert len(events(town)) == len(crowd.done) > 20


def test_nobody_there_is_said_with_the_address() -> None:
    port = free_port()
    with pytest.raises(UnreachableError, match=rf"127.0.0.1:{port}/healthz"):
        Loopback(port).get("/healthz")
