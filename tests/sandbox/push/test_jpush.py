"""JPush's stand-in: as strict as JPush, an identifier counts once, and our channel goes through it and back."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from orchestrator.channel.base import Envelope, Health, OutcomeClass, PushPayload
from orchestrator.channel.callback import CallbackRequest, Heard, Refused, Report, ReportState
from orchestrator.channel.push.jpush import JPushChannel, JPushOptions
from orchestrator.channel.transport import Transport
from orchestrator.clock import SystemClock
from orchestrator.sandbox.push.jpush import APP_KEY
from tests.sandbox.conftest import Answer, Customer, Open
from tests.sandbox.posts import posts

K = OutcomeClass
HOOK = "h00k-s3cret"
DEVICE = "1104a89792a"
ENVELOPE = Envelope("4711", 1, DEVICE, "jpush", PushPayload("Hi", "Noodles"), timedelta(minutes=9), "run-7-user-9")
T = TypeVar("T")


def secret(customer: Customer) -> str:
    return (customer.sandbox.credentials.folder / "jpush-master-secret").read_text().strip()


def ask(customer: Customer, path: str, body: object = None, key: str | None = None) -> Answer:
    basic = b64encode(f"{APP_KEY}:{key or secret(customer)}".encode()).decode()
    raw = b"" if body is None else json.dumps(body).encode()
    return customer.ask("GET" if body is None else "POST", path, raw, {"authorization": f"Basic {basic}"})


def push(**changed: Any) -> dict[str, Any]:
    body = {
        "platform": ["android"],
        "audience": {"registration_id": [DEVICE]},
        "notification": {"android": {"alert": "hello"}},
        **changed,
    }
    return {name: value for name, value in body.items() if value is not None}


def through(customer: Customer, work: Callable[[JPushChannel], Awaitable[T]], callback: str = "") -> T:
    """What our channel makes of the sandbox."""

    async def main() -> T:
        options = JPushOptions(app_key=APP_KEY, master_secret_file=Path("x"), base_url=customer.sandbox.url)
        transport = Transport(timedelta(seconds=5))
        channel = JPushChannel(
            options, secret(customer), transport, SystemClock(), callback_url=callback, callback_secret=HOOK
        )
        try:
            return await work(channel)
        finally:
            await channel.close()

    return asyncio.run(main())


def test_our_channel_is_accepted_and_shown(customer: Customer) -> None:
    outcome = through(customer, lambda channel: channel.send(ENVELOPE))
    assert outcome.kind is K.ACCEPTED
    (record,) = customer.accepted()
    assert (record["id"], record["message_id"], record["to"]) == (outcome.provider_id, "4711", DEVICE)
    assert (record["title"], record["body"], record["collapse_key"]) == ("Hi", "Noodles", "run-7-user-9")
    assert record["expires_at"] == pytest.approx(record["time"] + 540)
    assert through(customer, lambda channel: channel.check())[0].health is Health.FINE


def test_a_lost_answer_is_sent_again_and_pushed_once(customer: Customer) -> None:
    customer.fault("jpush", "reset_after", times=1)

    async def twice(channel: JPushChannel) -> list[OutcomeClass]:
        return [(await channel.send(replace(ENVELOPE, attempt=attempt))).kind for attempt in (1, 2)]

    assert through(customer, twice) == [K.AMBIGUOUS, K.ACCEPTED]
    assert len(customer.accepted()) == 1


def test_what_was_pushed_once_is_known_after_a_restart(open_sandbox: Open) -> None:
    first = open_sandbox()
    cid = ask(first, "/v3/push/cid").json["cidlist"][0]
    told = ask(first, "/v3/push", push(cid=cid)).json["msg_id"]
    first.sandbox.__exit__(None, None, None)
    second = open_sandbox()
    assert ask(second, "/v3/push", push(cid=cid)).json["msg_id"] == told
    assert len(second.accepted()) == 1


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"platform": None}, 1002),
        ({"audience": None}, 1002),
        ({"notification": None}, 1002),
        ({"notification": {"android": {}}}, 1002),
        ({"platform": ["palm"]}, 1003),
        ({"audience": "all"}, 1003),
        ({"audience": {"registration_id": []}}, 1003),
        ({"audience": {"registration_id": ["a b"]}}, 1003),
        ({"colour": "red"}, 1003),
        ({"options": {"time_to_live": 864_001}}, 1003),
        ({"options": {"time_to_live": "60"}}, 1003),
        ({"options": {"ttl": 60}}, 1003),
        ({"options": {"apns_collapse_id": "x" * 65}}, 1003),
        ({"callback": {"type": 4}}, 1003),
        ({"cid": f"{APP_KEY}-made-up"}, 1003),
        ({"notification": {"android": {"alert": "午" * 1400}}}, 1005),
        ({"platform": ["hmos"], "notification": {"hmos": {"alert": "x"}}}, 1002),
        ({"audience": {"registration_id": ["dead-1"]}}, 1011),
    ],
)
def test_what_is_wrong_has_its_code(refuser: Customer, changed: dict[str, Any], code: int) -> None:
    for path in ("/v3/push", "/v3/push/validate"):
        answer = ask(refuser, path, push(**changed))
        assert (answer.status, answer.error["code"]) == (400, code)
    assert refuser.accepted() == []


def test_wrong_credentials(refuser: Customer) -> None:
    for path, body in (("/v3/push", push()), ("/v3/push/validate", push()), ("/v3/push/cid", None)):
        answer = ask(refuser, path, body, key="guessed")
        assert (answer.status, answer.error["code"]) == (401, 1004)
    assert ask(refuser, "/v3/push/cid?count=1001").error["code"] == 1003


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "status", "status": 503}, K.RETRY),
        ({"kind": "status", "status": 429, "retry_after": 7}, K.RETRY_AFTER),
        ({"kind": "dead_address"}, K.DROP_ADDRESS),
        ({"kind": "html"}, K.RETRY),
        ({"kind": "truncated"}, K.AMBIGUOUS),
        ({"kind": "odd"}, K.AMBIGUOUS),
        ({"kind": "reset_before"}, K.AMBIGUOUS),
    ],
)
def test_faults(customer: Customer, fault: dict[str, Any], kind: OutcomeClass) -> None:
    customer.fault("jpush", **fault)
    assert through(customer, lambda channel: channel.send(ENVELOPE)).kind is kind


def test_a_delivery_comes_back_and_is_believed(customer: Customer) -> None:
    with posts() as kept:
        outcome = through(customer, lambda channel: channel.send(ENVELOPE), kept.url)
        (post,) = kept.wait_for(1)
    assert post.path == f"/report/{HOOK}"
    request = CallbackRequest(kept.url + post.path, post.path[1:], {}, post.headers, post.body)
    heard = through(customer, lambda channel: channel.hear(request))
    report = Report(outcome.provider_id or "", "delivered", ReportState.DELIVERED, message_id=4711, address=DEVICE)
    assert heard == Heard([report])


def test_a_forged_delivery_is_not(customer: Customer) -> None:
    customer.fault("callback", "forged")
    with posts() as kept:
        through(customer, lambda channel: channel.send(ENVELOPE), kept.url)
        (post,) = kept.wait_for(1)
    request = CallbackRequest(kept.url + post.path, post.path[1:], {}, post.headers, post.body)
    assert through(customer, lambda channel: channel.hear(request)) is Refused.FORGED
