"""What the inbox tells of each message, and the apps on its phones."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from typing_extensions import override

from orchestrator.sandbox.app import PAGE
from orchestrator.sandbox.faults import Kind
from orchestrator.sandbox.handset import ack_of
from tests.sandbox.conftest import TOKEN, Answer, Customer, Open

ACK = "A" * 44


@dataclass
class Deployment:
    """A web API that takes acknowledgements."""

    url: str = ""
    acks: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def wait(self, count: int) -> None:
        deadline = time.monotonic() + 8
        while len(self.acks) < count and time.monotonic() < deadline:
            time.sleep(0.01)  # the posts come from another thread; the deadline bounds it
        assert len(self.acks) == count


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    kept = Deployment()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # its name
            kept.paths.append(self.path)
            kept.acks.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(202)
            self.end_headers()

        @override
        def log_message(self, format: str, *args: Any) -> None:  # its name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield kept
    server.shutdown()
    server.server_close()


def pushed(customer: Customer, token: str = TOKEN, ack: str = ACK) -> None:
    data = {"msg_id": "7", "link": "https://app.example/x", **({"ack": ack} if ack else {})}
    assert customer.push({"token": token, "notification": {"title": "a", "body": "b"}, "data": data}).status == 200


def opened(customer: Customer, seq: int) -> Answer:
    return customer.ask("POST", "/sandbox/open", json.dumps({"seq": seq}).encode())


def test_an_app_reports_what_arrives_and_what_is_opened(open_sandbox: Open, deployment: Deployment) -> None:
    customer = open_sandbox(app=deployment.url + "/")
    pushed(customer)
    deployment.wait(1)
    assert opened(customer, 1).json == {"status": 202, "app": deployment.url + "/"}
    assert [(each["ack"], each["kind"]) for each in deployment.acks] == [(ACK, "delivered"), (ACK, "opened")]
    assert set(deployment.paths) == {"/v1/acks"}


def test_nothing_is_reported_by_itself_where_nobody_was_named(customer: Customer) -> None:
    pushed(customer)
    time.sleep(0.2)
    assert customer.ask("GET", "/sandbox/counters").json["callback"] == {}


def test_an_opened_message_without_a_deployment_is_told(open_sandbox: Open) -> None:
    customer = open_sandbox(app="http://127.0.0.1:9")
    pushed(customer)
    assert opened(customer, 1).json["status"] is None


def test_only_what_carries_an_acknowledgement_can_be_opened(customer: Customer) -> None:
    pushed(customer, ack="")
    assert [opened(customer, seq).status for seq in (1, 2)] == [404, 404]
    assert customer.ask("POST", "/sandbox/open", b"{}").status == 400
    evil = {"origin": "https://evil.example"}
    assert customer.ask("POST", "/sandbox/open", b'{"seq": 1}', evil).status == 403


def test_a_forged_acknowledgement_is_none(open_sandbox: Open, deployment: Deployment) -> None:
    customer = open_sandbox(app=deployment.url)
    customer.fault("callback", "forged")
    pushed(customer, ack="A" * 22 + "B" * 22)
    deployment.wait(1)
    assert deployment.acks[0]["ack"] == "B" * 22 + "A" * 22


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        ({"message": {"data": {"ack": "x"}}}, "x"),
        ({"payload": '{"ack": "x"}'}, "x"),
        ({"push": {"transmission": '{"n": {"ack": "x"}}'}}, "x"),
        ({"callback": "ack", "ack": ""}, ""),
        ({"payload": '{"ack": "x"'}, ""),
        ({"ack": 7}, ""),
        (None, ""),
    ],
)
def test_an_acknowledgement_is_found_wherever_a_provider_has_room(request_: Any, found: str) -> None:
    assert ack_of({"request": request_}) == found


def test_addresses_are_shown_by_kind_and_provider_and_all_of_hundreds(customer: Customer) -> None:
    for number in range(300):
        pushed(customer, f"APA91b-number-{number:03}")
    customer.text()

    def look(query: str) -> Any:
        return customer.ask("GET", f"/sandbox/inbox?{query}").json

    first = look("")
    assert (len(first["phones"]), first["more"], first["kinds"]) == (12, True, {"fcm": "push", "twilio": "sms"})
    assert first["phones"][0]["kind"] == "sms"
    assert (len(look("limit=240")["phones"]), look("limit=240")["more"]) == (240, True)
    assert [phone["provider"] for phone in look("provider=twilio")["phones"]] == ["twilio"]
    assert look("provider=apns")["phones"] == look("kind=webhook")["phones"] == []
    assert len(look("q=number-29&limit=40")["phones"]) == 10
    assert look("kind=sms")["more"] is False


def test_the_page_has_words_for_all_in_both_languages() -> None:
    """A word that one language lacks, or a kind without a name, would show as a gap."""
    words = (PAGE / "words.js").read_text()
    english, chinese = words.split("  zh: {")
    chinese = chinese.split("\n};")[0]
    spoken = [set(re.findall(r"(?:^|[ ,{])(\w+): \"", half, re.MULTILINE)) for half in (english, chinese)]
    assert spoken[0] == spoken[1]
    panel = (PAGE / "panel.js").read_text()
    named = {
        kind
        for kind in Kind
        if f"k_{kind.value}" in spoken[0] or re.search(rf"^  {kind.value}: \[", panel, re.MULTILINE)
    }
    assert named == set(Kind)
    asked = {word for path in PAGE.glob("*.js") for word in re.findall(r"say\(\"(\w+)\"", path.read_text())}
    asked |= set(re.findall(r"data-(?:word|placeholder|label)=\"(\w+)\"", (PAGE / "index.html").read_text()))
    assert asked <= spoken[0]


def test_the_page_names_every_provider() -> None:
    from typing import get_args

    from orchestrator.sandbox.faults import Provider

    names = set(re.findall(r"(\w+): \[\"", (PAGE / "providers.js").read_text()))
    assert names == set(get_args(Provider))


def test_nothing_on_the_page_is_inline() -> None:
    page = (PAGE / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|<style|style=", page)
