"""One sandbox, and the real channel of every provider at it, with the accounts that ``--print-config`` prints."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from typing import Any, TypeVar

import pytest

from orchestrator.channel.base import Channel, EmailPayload, Envelope, Outcome, Payload, PushPayload, SmsPayload
from orchestrator.channel.plugins import open_channel
from orchestrator.sandbox.accounts import accounts
from orchestrator.sandbox.server import Options, Sandbox
from tests.sandbox.conftest import Customer

T = TypeVar("T")
PATIENCE = 0.5
"""Seconds that a channel waits for an answer, where nothing else is said."""
ACK = "Zx" + "k" * 42
_numbers = count(4711)

PUSH = PushPayload("Canarytitle 午餐", "Canarybody 您的优惠", link="https://app.example/x", data={"coupon": "A"})
SMS = SmsPayload("Canarybody 您的优惠", approved="SMS_154950909", parameters={"name": "Canaryname"})
MAIL = EmailPayload(
    "Canarytitle 午餐",
    "Canarybody 您的优惠",
    '<p>Canarybody <a href="https://shop.example/c/1">see</a></p>',
    "https://shop.example/u/canary-secret",
)

# Provider -> (kind of address, payload, address of the Nth person).
PEOPLE: dict[str, tuple[str, Payload, Callable[[int], str]]] = {
    "fcm": ("token", PUSH, lambda n: f"APA91bE-canary-address-{n}"),
    "apns": ("apns", PUSH, lambda n: f"ca5a4f{n:058x}"),
    "webpush": ("webpush", PUSH, lambda n: f"canary{n}"),  # the browser makes an endpoint of it
    "huawei": ("huawei", PUSH, lambda n: f"IQAAAACy0canaryaddress{n}"),
    "xiaomi": ("xiaomi", PUSH, lambda n: f"d//igwEhgBGCI2TG6lWqcanary{n}"),
    "oppo": ("oppo", PUSH, lambda n: f"CN_canaryaddress{n}"),
    "vivo": ("vivo", PUSH, lambda n: f"1234567890canary{n}"),
    "jpush": ("jpush", PUSH, lambda n: f"190e35f7e0canary{n}"),
    "getui": ("getui", PUSH, lambda n: f"e605a0db5canary{n:019d}"),
    "twilio": ("phone", SMS, lambda n: f"+4915200{n:06d}"),
    "aliyun": ("phone", SMS, lambda n: f"+86138001{n:05d}"),
    "gateway": ("phone", SMS, lambda n: f"+4915300{n:06d}"),
    "smtp": ("mailbox", MAIL, lambda n: f"canary.address{n}@example.com"),
    "ses": ("mailbox", MAIL, lambda n: f"canary.address{n}@example.com"),
    "sendgrid": ("mailbox", MAIL, lambda n: f"canary.address{n}@example.com"),
    "webhook": ("user", PUSH, lambda n: f"canary-user-{n}"),
}
PROVIDERS = tuple(PEOPLE)


@dataclass
class Bench:
    """The sandbox as its operator, and as the customers' channels see it."""

    sandbox: Sandbox
    deployment: str = "http://127.0.0.1:9"
    customer: Customer = field(init=False)

    def __post_init__(self) -> None:
        self.customer = Customer(self.sandbox)

    def envelope(self, provider: str, address: str = "") -> Envelope:
        """A message of its own for a person of their own."""
        number = next(_numbers)
        kind, payload, address_of = PEOPLE[provider]
        to = address or address_of(number)
        details: dict[str, str] = {}
        if provider == "webpush":
            to, details = self._browser(to)
        return Envelope(
            str(number),
            1,
            to,
            kind,
            payload,
            timedelta(hours=2),
            f"r7-{number}",
            details,
            ACK if payload is PUSH else "",
        )

    def _browser(self, name: str) -> tuple[str, dict[str, str]]:
        made = self.customer.ask("POST", "/sandbox/webpush/subscribe", json.dumps({"name": name}).encode()).json
        return made["endpoint"], made["keys"]

    def open(self, provider: str, patience: float = PATIENCE) -> Channel:
        account = accounts(self.sandbox.place)[provider]
        options = {**account.options, "timeout": patience}
        if provider == "smtp":
            options["final_timeout"] = patience
        return open_channel(provider, provider, options, callback_url=f"{self.deployment}/callbacks/{provider}")

    def run(self, provider: str, work: Callable[[Channel], Coroutine[Any, Any, T]], patience: float = PATIENCE) -> T:
        """Work with a channel that is opened for it, and closed after it."""

        async def main() -> T:
            channel = self.open(provider, patience)
            try:
                return await work(channel)
            finally:
                await channel.close()

        return asyncio.run(main())

    def send(self, *envelopes: Envelope, provider: str, patience: float = PATIENCE) -> list[Outcome]:
        """One after the other, through one channel."""

        async def all_of_them(channel: Channel) -> list[Outcome]:
            return [await channel.send(each) for each in envelopes]

        return self.run(provider, all_of_them, patience)

    def accepted(self, envelope: Envelope) -> list[dict[str, Any]]:
        """What the sandbox took for this message's address."""
        found: list[dict[str, Any]] = self.customer.ask("GET", "/sandbox/messages?limit=10000").json["messages"]
        return [each for each in found if each["to"] == envelope.address]

    @contextmanager
    def suffering(self, provider: str, kind: str, **options: Any) -> Iterator[Callable[[], int]]:
        """A fault that is on; what is yielded counts the requests that met it."""
        answer = self.customer.fault(provider, kind, **options)
        assert answer.status == 201, answer.body
        number = answer.json["number"]

        def hits() -> int:
            listed = self.customer.ask("GET", "/sandbox/faults").json["faults"]
            return int(next(each["hits"] for each in listed if each["number"] == number))

        try:
            yield hits
        finally:
            self.customer.ask("DELETE", "/sandbox/faults")

    def shown(self, envelope: Envelope) -> dict[str, Any]:
        """The address in the inbox."""
        phones = self.customer.ask("GET", "/sandbox/inbox?limit=240").json["phones"]
        found: dict[str, Any] = next(each for each in phones if each["address"] == envelope.address)
        return found


def resent(envelope: Envelope) -> Envelope:
    """The same message, tried again."""
    return replace(envelope, attempt=envelope.attempt + 1)


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What work gives, and how many seconds it took."""
    start = time.monotonic()
    return work(), time.monotonic() - start


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A sandbox for all round trips; every test writes to people of its own."""
    with Sandbox(Options(tmp_path_factory.mktemp("sandbox"), delay=0.05)) as sandbox:
        yield Bench(sandbox)
