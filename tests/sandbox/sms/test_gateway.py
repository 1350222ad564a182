"""The two gateways that exist nowhere, driven by the two descriptions that the documentation shows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

import pytest
from ruamel.yaml import YAML

from orchestrator.channel.base import Envelope, Health, OutcomeClass, SmsPayload
from orchestrator.channel.callback import CallbackRequest, Heard, Report, ReportState
from orchestrator.channel.sms.gateway import GatewayChannel, GatewayOptions
from orchestrator.channel.transport import Transport
from orchestrator.clock import SystemClock
from tests.sandbox.conftest import Customer
from tests.sandbox.posts import posts

K = OutcomeClass
PAGE = Path("docs/reference/channels/gateway.md")
HOOK = "h00k-s3cret-0123456789"
PHONE = "+4915112345678"
ENVELOPE = Envelope("4711", 1, PHONE, "phone", SmsPayload("Hi, 小明 & co"), timedelta(minutes=9), "run-7-user-9")
T = TypeVar("T")


def examples() -> dict[str, dict[str, Any]]:
    """The options of the accounts that the page shows, by account."""
    blocks = [block.partition("```")[0] for block in PAGE.read_text().split("```yaml\n")[1:]]
    accounts: dict[str, dict[str, Any]] = {}
    for block in blocks:
        for name, account in (YAML(typ="safe").load(StringIO(block)).get("accounts") or {}).items():
            accounts[name] = account["options"]
    return accounts


def through(customer: Customer, name: str, work: Callable[[GatewayChannel], Awaitable[T]]) -> T:
    """What our channel makes of the sandbox, with the description of the docs."""

    async def main() -> T:
        described = examples()[name] | {"base_url": f"{customer.sandbox.url}/gateway"}
        given = {option: value for option, value in described.items() if not option.endswith(("_file", "_env"))}
        secret = (customer.sandbox.credentials.folder / "gateway-secret").read_text().strip()
        options = GatewayOptions.model_validate(given)
        channel = GatewayChannel(options, secret, Transport(timedelta(seconds=5)), SystemClock(), callback_secret=HOOK)
        try:
            return await work(channel)
        finally:
            await channel.close()

    return asyncio.run(main())


BOTH = ("json-gateway", "form-gateway")


@pytest.mark.parametrize("name", BOTH)
def test_accepted_and_shown(customer: Customer, name: str) -> None:
    outcome = through(customer, name, lambda channel: channel.send(ENVELOPE))
    assert (outcome.kind, outcome.provider_id) == (K.ACCEPTED, "GW0000000001")
    (record,) = customer.accepted()
    assert (record["to"], record["body"], record["message_id"]) == (PHONE, "Hi, 小明 & co", "4711")


@pytest.mark.parametrize("name", BOTH)
def test_dead_numbers_and_faults(customer: Customer, name: str) -> None:
    dead = replace(ENVELOPE, address="+15005550009")
    assert through(customer, name, lambda channel: channel.send(dead)).kind is K.DROP_ADDRESS
    for fault, kind in (
        ({"kind": "status", "status": 429}, K.RETRY_AFTER),
        ({"kind": "html"}, K.RETRY),
        ({"kind": "reset_after"}, K.AMBIGUOUS),
    ):
        customer.fault("gateway", **fault, times=1)
        assert through(customer, name, lambda channel: channel.send(ENVELOPE)).kind is kind


@pytest.mark.parametrize("name", BOTH)
def test_a_wrong_token_stops_the_account(customer: Customer, name: str) -> None:
    folder = customer.sandbox.credentials.folder
    assert through(customer, name, lambda channel: channel.check())[0].health is Health.FINE

    async def as_another(channel: GatewayChannel) -> OutcomeClass:
        channel._sender = replace(channel._sender, secret="guessed")
        return (await channel.send(ENVELOPE)).kind

    assert (folder / "gateway-secret").exists()
    assert through(customer, name, as_another) is K.STOP_CHANNEL
    assert customer.accepted() == []


def test_the_check_finds_a_wrong_token(customer: Customer) -> None:
    async def as_another(channel: GatewayChannel) -> Health:
        channel._sender = replace(channel._sender, secret="guessed")
        return (await channel.check())[0].health

    assert through(customer, "json-gateway", as_another) is Health.BROKEN


@pytest.mark.parametrize(("fault", "state"), [(None, ReportState.DELIVERED), ("undelivered", ReportState.UNDELIVERED)])
def test_receipts_come_back(customer: Customer, fault: str | None, state: ReportState) -> None:
    if fault:
        customer.fault("gateway", fault, code=21)
    with posts() as kept:
        url = f"{kept.url}/report/{HOOK}"
        customer.ask("POST", "/sandbox/callbacks", json.dumps({"provider": "gateway", "url": url}).encode())
        outcome = through(customer, "json-gateway", lambda channel: channel.send(ENVELOPE))
        (post,) = kept.wait_for(1)
    request = CallbackRequest(url, post.path[1:], {}, post.headers, post.body)
    heard = through(customer, "json-gateway", lambda channel: channel.hear(request))
    assert isinstance(heard, Heard)
    (report,) = heard.said
    assert isinstance(report, Report)
    assert (report.provider_id, report.state, report.message_id) == (outcome.provider_id, state, 4711)
    assert report.kind is (K.DROP_ADDRESS if fault else None)
