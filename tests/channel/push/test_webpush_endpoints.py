"""Endpoints are written by strangers: only push services are posted to, and never anything in our own network."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from typing_extensions import override

from orchestrator.channel.base import Health, OutcomeClass
from orchestrator.channel.outward import Outward, Target, read_target
from orchestrator.channel.push.webpush import WebPushChannel
from orchestrator.channel.push.webpush_endpoint import ALLOWED, Endpoints, wrong_rule
from orchestrator.channel.push.webpush_vapid import Vapid
from orchestrator.clock import ManualClock
from tests.channel.push.test_webpush import ENVELOPE
from tests.channel.sink import HOSTILE, NAMES, Sink, lying_resolver, sink

K = OutcomeClass
KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://fcm.googleapis.com/fcm/send/cX1:APA91b",
        "https://fcm.googleapis.com/wp/cX1:APA91b",
        "https://updates.push.services.mozilla.com/wpush/v2/gAAAA",
        "https://autopush.eu.push.services.mozilla.com/wpush/v1/gAAAA",
        "https://web.push.apple.com/QGuQy",
        "https://x.push.apple.com/QGuQy",
        "https://wns2-by3p.notify.windows.com/w/?token=BQYAAA",
        "https://jmt17.google.com/fcm/send/x",
        "https://FCM.googleapis.com:443/fcm/send/x",
    ],
)
def test_the_real_services(endpoint: str) -> None:
    assert Endpoints().target(endpoint) is not None


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://fcm.googleapis.com/fcm/send/x",
        "https://fcm.googleapis.com/v1/projects/p/messages:send",  # its 401 would stop the account
        "https://fcm.googleapis.com/fcm/send/../../v1/projects/p/messages:send",
        "https://fcm.googleapis.com/fcm/send/%2e%2e/%2e%2e/v1/projects/p",
        "https://fcm.googleapis.com:8443/fcm/send/x",
        "https://fcm.googleapis.com.evil.example/fcm/send/x",
        "https://evil.example/fcm.googleapis.com/fcm/send/x",
        "https://evilfcm.googleapis.com/fcm/send/x",
        "https://evil.example#.notify.windows.com/w/",
        "https://evil.example?.notify.windows.com/w/",
        "https://notify.windows.com/w/x",
        "https://evilnotify.windows.com/w/x",
        "https://.notify.windows.com/w/x",
        "https://user@fcm.googleapis.com/fcm/send/x",
        "https://fcm.googleapis.com\\@evil.example/fcm/send/x",
        "https://evil.example\\@fcm.googleapis.com/fcm/send/x",
        "https://fcm.googleapis.com./fcm/send/x",
        "http://127.0.0.1:8090/webpush/x",
        "http://localhost/webpush/x",
        "file:///etc/passwd",
        "",
    ],
)
def test_what_is_none_of_them(endpoint: str) -> None:
    assert Endpoints().target(endpoint) is None


def test_with_the_sandbox_nobody_elses_service_is_written_to() -> None:
    endpoints = Endpoints(origin="http://127.0.0.1:8090")
    assert endpoints.target("http://127.0.0.1:8090/webpush/x") is not None
    for other in ("https://fcm.googleapis.com/fcm/send/x", "http://127.0.0.1:8091/x", "http://localhost:8090/x"):
        assert endpoints.target(other) is None


@pytest.mark.parametrize("rule", [*ALLOWED, "push.example", "*.push.example", "push.example/wpush/v2"])
def test_rules(rule: str) -> None:
    assert wrong_rule(rule) == ""


@pytest.mark.parametrize("rule", ["", "*", "*.", "*.*", "https://x.example", "X.example", "localhost", "127.0.0.1"])
def test_what_is_no_rule(rule: str) -> None:
    assert wrong_rule(rule)


def channel(endpoints: Endpoints, clock: ManualClock) -> WebPushChannel:
    services = Outward(timedelta(seconds=0.5), clock, resolve=lying_resolver)
    return WebPushChannel(Vapid(KEY, "mailto:push@food.example", clock), endpoints, services, clock)


async def send_to_all(one: WebPushChannel, urls: Sequence[str], seen: Sink) -> set[tuple[K, str, bool]]:
    found = set()
    for url in urls:
        outcome = await one.send(replace(ENVELOPE, address=url.format(port=seen.port)))
        found.add((outcome.kind, outcome.code, outcome.may_have_left))
    return found


def test_no_hostile_endpoint_is_ever_connected_to(clock: ManualClock) -> None:
    async def main() -> None:
        async with sink() as seen:
            one = channel(Endpoints(), clock)
            assert await send_to_all(one, HOSTILE, seen) <= {
                (K.DROP_ADDRESS, "endpoint", False),
                (K.DROP_MESSAGE, "endpoint_not_allowed", False),
            }
            assert seen.connections == 0
            await one.close()

    asyncio.run(main())


class AnyPort(Endpoints):
    """The list, without the ports: so that what is behind it is tried as well."""

    port = 443

    @override
    def target(self, endpoint: str) -> Target | None:
        target = read_target(endpoint, frozenset({self.port}))
        return None if isinstance(target, str) or not self._named(target) else target


INSIDE = [f"https://{name}:{{port}}/wpush/x" for name in NAMES if name.endswith(".example")]


def test_an_allowed_name_that_leads_inward_is_not_followed_and_the_address_stays(clock: ManualClock) -> None:
    async def main() -> None:
        async with sink() as seen:
            endpoints = AnyPort(["*.example/wpush/"])
            endpoints.port = seen.port
            one = channel(endpoints, clock)
            assert await send_to_all(one, INSIDE, seen) == {(K.RETRY, "inward", False)}
            assert seen.connections == 0
            await one.close()

    asyncio.run(main())


class ListAlone(Outward):
    """Broken on purpose: who stands in the list is believed, wherever the name leads."""

    @override
    async def addresses(self, target: Target) -> Sequence[str]:
        return await lying_resolver(target.host, target.port)


def test_a_list_alone_is_caught_by_the_sink(clock: ManualClock) -> None:
    async def main() -> None:
        async with sink() as seen:
            endpoints = AnyPort(["*.example/wpush/"])
            endpoints.port = seen.port
            services = ListAlone(timedelta(seconds=0.5), clock)
            one = WebPushChannel(Vapid(KEY, "mailto:push@food.example", clock), endpoints, services, clock)
            await send_to_all(one, ["https://loop.example:{port}/wpush/x"], seen)
            assert seen.connections == 1
            await one.close()

    asyncio.run(main())


def test_the_doctor_says_where_names_lead(clock: ManualClock) -> None:
    async def main() -> None:
        one = channel(Endpoints(["loop.example/", "unknown.example", "*.any.example"]), clock)
        key, inside, unknown = await one.check()
        assert key.health is Health.FINE
        assert (inside.health, "loop.example" in inside.what) == (Health.BROKEN, True)
        assert (unknown.health, "unknown.example" in unknown.what) == (Health.WARNING, True)
        await one.close()

    asyncio.run(main())
