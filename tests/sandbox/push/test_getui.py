"""Getui's stand-in: as strict as Getui, an id counts once, and our channel goes through it and back."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import pytest

from orchestrator.channel.base import Envelope, Health, OutcomeClass, PushPayload
from orchestrator.channel.callback import CallbackRequest, Heard, Refused, Report, ReportState
from orchestrator.channel.push.getui import GetuiChannel, GetuiOptions
from orchestrator.channel.transport import Transport
from orchestrator.clock import SystemClock
from orchestrator.sandbox.push.getui import APP_ID, APP_KEY
from tests.sandbox.conftest import Answer, Customer
from tests.sandbox.posts import posts

K = OutcomeClass
HOOK = "h00k-s3cret"
CLIENT = "0ad2b8c3"
ENVELOPE = Envelope("4711", 1, CLIENT, "getui", PushPayload("Hi", "Noodles"), timedelta(minutes=9), "run-7-user-9")
BASE = f"/getui/v2/{APP_ID}"
T = TypeVar("T")


def secret(customer: Customer) -> str:
    return (customer.sandbox.credentials.folder / "getui-master-secret").read_text().strip()


def authenticate(customer: Customer, **changed: Any) -> Answer:
    stamp = str(changed.get("timestamp", int(time.time() * 1000)))
    sign = sha256(f"{APP_KEY}{stamp}{secret(customer)}".encode()).hexdigest()
    body = {"sign": sign, "timestamp": stamp, "appkey": APP_KEY} | changed
    return customer.ask("POST", f"{BASE}/auth", json.dumps(body).encode())


def push(**changed: Any) -> dict[str, Any]:
    notification = {"title": "t", "body": "b", "click_type": "startapp"}
    return {
        "request_id": "r" * 32,
        "audience": {"cid": [CLIENT]},
        "push_message": {"notification": notification | changed.pop("notification", {})},
        **changed,
    }


def ask(customer: Customer, body: object, token: str | None = None) -> Answer:
    token = authenticate(customer).json["data"]["token"] if token is None else token
    return customer.ask("POST", f"{BASE}/push/single/cid", json.dumps(body).encode(), {"token": token})


def through(customer: Customer, work: Callable[[GetuiChannel], Awaitable[T]]) -> T:
    """What our channel makes of the sandbox."""

    async def main() -> T:
        url = f"{customer.sandbox.url}/getui/v2"
        options = GetuiOptions(app_id=APP_ID, app_key=APP_KEY, master_secret_file=Path("x"), base_url=url)
        transport = Transport(timedelta(seconds=5))
        channel = GetuiChannel(options, secret(customer), transport, SystemClock(), callback_secret=HOOK)
        try:
            return await work(channel)
        finally:
            await channel.close()

    return asyncio.run(main())


def test_our_channel_is_accepted_and_shown(customer: Customer) -> None:
    outcome = through(customer, lambda channel: channel.send(ENVELOPE))
    assert (outcome.kind, outcome.code) == (K.ACCEPTED, "successed_online")
    (record,) = customer.accepted()
    assert (record["id"], record["message_id"], record["to"]) == (outcome.provider_id, "4711", CLIENT)
    assert (record["title"], record["body"]) == ("Hi", "Noodles")
    assert record["expires_at"] == pytest.approx(record["time"] + 540)
    assert through(customer, lambda channel: channel.check())[0].health is Health.FINE


def test_a_lost_answer_is_sent_again_by_another_process_and_pushed_once(customer: Customer) -> None:
    customer.fault("getui", "reset_after", times=1)
    kinds = [
        through(customer, lambda channel, number=number: channel.send(replace(ENVELOPE, attempt=number))).kind  # type: ignore[misc]
        for number in (1, 2)
    ]
    assert kinds == [K.AMBIGUOUS, K.ACCEPTED]
    assert len(customer.accepted()) == 1
    other = replace(ENVELOPE, message_id="4712")
    assert through(customer, lambda channel: channel.send(other)).kind is K.ACCEPTED
    assert len(customer.accepted()) == 2


def test_dead_and_idle_clients(customer: Customer) -> None:
    for address, kind in (("dead-1", K.DROP_ADDRESS), ("idle-1", K.DROP_MESSAGE)):
        outcome = through(customer, lambda channel, to=address: channel.send(replace(ENVELOPE, address=to)))  # type: ignore[misc]
        assert outcome.kind is kind
    assert customer.accepted() == []


def test_an_expired_token_is_replaced(customer: Customer) -> None:
    async def twice(channel: GetuiChannel) -> list[OutcomeClass]:
        first = await channel.send(ENVELOPE)
        await asyncio.to_thread(customer.fault, "token", "expire_tokens")
        return [first.kind, (await channel.send(replace(ENVELOPE, message_id="2"))).kind]

    assert through(customer, twice) == [K.ACCEPTED, K.ACCEPTED]


@pytest.mark.parametrize(
    "changed",
    [
        {"request_id": "short"},
        {"request_id": "r" * 33},
        {"request_id": None},
        {"audience": {"cid": []}},
        {"audience": {"cid": ["a", "b"]}},
        {"audience": "all"},
        {"settings": {"ttl": 3 * 86_400_000 + 1}},
        {"settings": {"ttl": -2}},
        {"settings": {"ttl": "60"}},
        {"push_message": {}},
        {"colour": "red"},
        {"notification": {"title": ""}},
        {"notification": {"title": "x" * 51}},
        {"notification": {"body": "x" * 257}},
        {"notification": {"click_type": "dance"}},
        {"notification": {"click_type": "payload"}},
        {"notification": {"click_type": "payload", "payload": "x" * 3073}},
        {"notification": {"notify_id": -1}},
    ],
)
def test_what_is_wrong_is_20001(refuser: Customer, changed: dict[str, Any]) -> None:
    answer = ask(refuser, push(**changed))
    assert (answer.status, answer.json["code"]) == (400, 20001)
    assert refuser.accepted() == []


def test_tokens(refuser: Customer) -> None:
    good = authenticate(refuser).json["data"]["token"]
    for token in ("", "x", good[:-1] + ("0" if good[-1] != "0" else "1"), "1." + good.partition(".")[2]):
        answer = ask(refuser, push(), token)
        assert (answer.status, answer.json["code"]) == (401, 10001)
    old = int((time.time() - 3600) * 1000)
    for changed, code in (
        ({"timestamp": old}, "sign_error"),
        ({"sign": "0"}, "sign_error"),
        ({"appkey": "x"}, "appkey_error"),
    ):
        assert authenticate(refuser, **changed).json["code"] == code


def test_a_receipt_comes_back_and_is_believed(customer: Customer) -> None:
    with posts() as kept:
        url = f"{kept.url}/report/{HOOK}"
        customer.ask("POST", "/sandbox/callbacks", json.dumps({"provider": "getui", "url": url}).encode())
        outcome = through(customer, lambda channel: channel.send(ENVELOPE))
        customer.fault("callback", "forged")
        through(customer, lambda channel: channel.send(replace(ENVELOPE, message_id="2")))
        genuine, forged = kept.wait_for(2)
    request = CallbackRequest(url, genuine.path[1:], {}, genuine.headers, genuine.body)
    report = Report(outcome.provider_id or "", "delivered", ReportState.DELIVERED, address=CLIENT)
    assert through(customer, lambda channel: channel.hear(request)) == Heard([report])
    lie = CallbackRequest(url, forged.path[1:], {}, forged.headers, forged.body)
    assert through(customer, lambda channel: channel.hear(lie)) is Refused.FORGED
