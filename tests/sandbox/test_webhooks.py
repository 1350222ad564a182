"""What Twilio posts: signed, in order per message, tried again, and as wrong as it is told to be."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

import pytest
from twilio.request_validator import RequestValidator
from typing_extensions import override

from orchestrator.sandbox.credentials import FROM_NUMBER
from tests.sandbox.conftest import PHONE, Customer, Open


@dataclass(slots=True)
class Receiver:
    """The customer's own server."""

    url: str = ""
    posts: list[tuple[str, dict[str, str], str]] = field(default_factory=list)
    failures: int = 0
    busy: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def wait_for(self, count: int) -> list[dict[str, str]]:
        deadline = time.monotonic() + 8
        while len(self.posts) < count and time.monotonic() < deadline:
            time.sleep(0.01)  # the posts come from another process; the deadline bounds it
        assert len(self.posts) >= count, f"{len(self.posts)} posts came instead of {count}"
        return [form for _, form, _ in self.posts]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    kept = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # its name
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            with kept.lock:
                kept.busy += 1
                kept.most = max(kept.most, kept.busy)
                failing = kept.failures > 0
                kept.failures -= failing
                if not failing:
                    url = kept.url + self.path
                    kept.posts.append((url, dict(parse_qsl(body)), self.headers["x-twilio-signature"]))
            self.send_response(500 if failing else 204)
            self.end_headers()
            with kept.lock:
                kept.busy -= 1

        @override
        def log_message(self, format: str, *args: Any) -> None:  # its name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield kept
    server.shutdown()
    server.server_close()


def genuine(customer: Customer, receiver: Receiver) -> list[bool]:
    validator = RequestValidator(customer.sandbox.credentials.auth_token)
    return [bool(validator.validate(*post)) for post in receiver.posts]


def test_statuses_come_signed_and_in_order(customer: Customer, receiver: Receiver) -> None:
    answer = customer.text(StatusCallback=f"{receiver.url}/callbacks/sms/status?m=17&x=%2B")
    forms = receiver.wait_for(2)
    assert [form["MessageStatus"] for form in forms] == ["sent", "delivered"]
    assert {form["MessageSid"] for form in forms} == {answer.json["sid"]}
    assert (forms[0]["To"], forms[0]["From"]) == (PHONE, FROM_NUMBER)
    assert genuine(customer, receiver) == [True, True]
    assert customer.list(To=PHONE)["messages"][0]["status"] == "delivered"


def test_undelivered_carries_its_code(customer: Customer, receiver: Receiver) -> None:
    customer.fault("twilio", "undelivered", code=30005)
    customer.text(StatusCallback=receiver.url + "/s")
    forms = receiver.wait_for(2)
    assert [(form["MessageStatus"], form.get("ErrorCode")) for form in forms] == [
        ("sent", None),
        ("undelivered", "30005"),
    ]
    assert customer.list(To=PHONE)["messages"][0]["error_code"] == 30005


def test_many_are_in_order_per_message_and_few_at_a_time(customer: Customer, receiver: Receiver) -> None:
    for number in range(30):
        customer.text(StatusCallback=f"{receiver.url}/s?m={number}")
    receiver.wait_for(60)
    seen: dict[str, list[str]] = {}
    for _, form, _ in receiver.posts:
        seen.setdefault(form["MessageSid"], []).append(form["MessageStatus"])
    assert list(seen.values()) == [["sent", "delivered"]] * 30
    assert receiver.most <= 8


def test_a_failing_receiver_is_tried_again(customer: Customer, receiver: Receiver) -> None:
    receiver.failures = 2
    customer.text(StatusCallback=receiver.url + "/s")
    assert [form["MessageStatus"] for form in receiver.wait_for(2)] == ["sent", "delivered"]


@pytest.mark.parametrize(
    ("kind", "statuses", "honest"),
    [
        ("duplicate", ["sent", "sent", "delivered", "delivered"], True),
        ("reorder", ["delivered", "sent"], True),
        ("forged", ["sent", "delivered"], False),
    ],
)
def test_callbacks_go_wrong_when_told(
    customer: Customer, receiver: Receiver, kind: str, statuses: list[str], honest: bool
) -> None:
    customer.fault("callback", kind)
    customer.text(StatusCallback=receiver.url + "/s")
    assert [form["MessageStatus"] for form in receiver.wait_for(len(statuses))] == statuses
    assert genuine(customer, receiver) == [honest] * len(statuses)


def test_lost_callbacks_never_come(customer: Customer, receiver: Receiver) -> None:
    customer.fault("callback", "lost", times=1)
    customer.text(StatusCallback=receiver.url + "/lost")
    customer.text(StatusCallback=receiver.url + "/kept")
    receiver.wait_for(2)
    assert {url for url, _, _ in receiver.posts} == {receiver.url + "/kept"}


def test_late_callbacks_come_later_and_are_signed_then(customer: Customer, receiver: Receiver) -> None:
    customer.fault("callback", "late", seconds=0.5, times=1)
    customer.text(StatusCallback=receiver.url + "/late")
    customer.text(StatusCallback=receiver.url + "/soon")
    receiver.wait_for(4)
    assert [url.rpartition("/")[2] for url, _, _ in receiver.posts] == ["soon", "soon", "late", "late"]
    assert genuine(customer, receiver) == [True] * 4


def test_replies_are_posted_signed(open_sandbox: Open, receiver: Receiver) -> None:
    customer = open_sandbox(callback_inbound=receiver.url + "/callbacks/sms/inbound")
    answer = customer.reply("退订 STOP?")
    form = receiver.wait_for(1)[0]
    assert (form["From"], form["To"], form["Body"]) == (PHONE, FROM_NUMBER, "退订 STOP?")
    assert (form["MessageSid"], form["SmsStatus"]) == (answer.json["sid"], "received")
    assert genuine(customer, receiver) == [True]
