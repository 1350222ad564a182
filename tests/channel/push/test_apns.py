"""APNs: the request, what cannot be sent, what `doctor` asks, and that nothing private is told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from orchestrator.channel.base import (
    Health,
    Inquiry,
    Outcome,
    PushPayload,
    Scope,
    SmsPayload,
)
from tests.channel.http2_end import (
    Act,
    answers,
    refuses,
    silence,
)
from tests.channel.push.apns_end import BAD, DEVICE, ENVELOPE, OK, PAYLOAD, ROWS, TOPIC, K, Place


def test_the_request(place: Place) -> None:
    async def main() -> None:
        async with place.opened(OK) as (channel, far):
            outcome = await channel.send(ENVELOPE)
            (asked,) = far.requests
            head = asked.head
            assert outcome == Outcome(K.ACCEPTED, "200", head["apns-id"])
            assert str(UUID(head["apns-id"])) == head["apns-id"]
            assert (head[":method"], head[":scheme"], head[":path"]) == ("POST", "https", f"/3/device/{DEVICE}")
            assert head[":authority"] == f"localhost:{far.port}"
            assert head["authorization"].startswith("bearer ey")
            assert head["apns-topic"] == TOPIC
            assert (head["apns-push-type"], head["apns-priority"]) == ("alert", "10")
            assert int(head["apns-expiration"]) == int(place.clock.machine().timestamp()) + 5400
            assert head["apns-collapse-id"] == "run-7-user-9"
            assert asked.json == {
                "aps": {"alert": {"title": "Canarytitle", "body": "Canarybody noodles"}, "mutable-content": 1},
                "coupon": "C1",
                "link": "https://app.example/x",
                "image": "https://i.example/n.png",
                "ack": "A" * 44,
                "msg_id": "4711",
            }
            assert not far.indexed & {b":path", b"authorization", b"apns-id", b"apns-collapse-id"}

    asyncio.run(main())


def test_the_id_is_of_the_attempt_and_the_collapse_id_of_the_message(place: Place) -> None:
    async def main() -> None:
        async with place.opened(OK) as (channel, far):
            for attempt in (1, 2, 2):
                await channel.send(replace(ENVELOPE, attempt=attempt))
            first, second, again = (asked.head for asked in far.requests)
            assert first["apns-id"] != second["apns-id"] == again["apns-id"]
            assert len({each["apns-collapse-id"] for each in (first, second, again)}) == 1

    asyncio.run(main())


def test_the_address_knows_better(place: Place) -> None:
    async def main() -> None:
        async with place.opened(OK) as (channel, far):
            await channel.send(replace(ENVELOPE, details={"app": "com.example.other", "environment": "sandbox"}))
            assert far.requests[0].head["apns-topic"] == "com.example.other"

    asyncio.run(main())


@pytest.mark.parametrize(
    "changed",
    [
        {"address": "not-hex"},
        {"address": ""},
        {"address": "abc"},
        {"address": "ab/../../x"},
        {"address": "ab" * 300},
        {"details": {"app": "com.example\r\nx: y"}},
        {"payload": PushPayload("t", "x" * 5000)},
        {"payload": SmsPayload("x")},
    ],
)
def test_what_cannot_be_sent_is_not(place: Place, changed: dict[str, Any]) -> None:
    outcome, requests = place.sent(OK, **changed)
    assert (requests, outcome.may_have_left) == (0, False)
    assert outcome.kind is (K.DROP_ADDRESS if "address" in changed else K.DROP_MESSAGE)


def test_a_topic_of_the_addresss_own_stops_nobody_else(place: Place) -> None:
    stops, _ = place.sent(refuses(400, "TopicDisallowed"), details={"app": "com.example.other"})
    assert (stops.kind, stops.scope) == (K.STOP_CHANNEL, Scope.ADDRESS)


def test_reconcile_and_close(place: Place) -> None:
    async def main() -> None:
        async with place.opened(OK) as (channel, _):
            assert await channel.reconcile(Inquiry("1", DEVICE, PAYLOAD, place.clock.machine())) is None
            assert channel.problems(PAYLOAD) == []

    asyncio.run(main())


@pytest.mark.parametrize(
    ("act", "health", "word"),
    [
        (BAD, Health.FINE, "takes the key"),
        (refuses(410, "Unregistered"), Health.FINE, "takes the key"),
        (refuses(403, "InvalidProviderToken"), Health.BROKEN, "InvalidProviderToken"),
        (refuses(400, "TopicDisallowed"), Health.BROKEN, "TopicDisallowed"),
        (refuses(403, "BadEnvironmentKeyInToken"), Health.BROKEN, "BadEnvironmentKeyInToken"),
        (refuses(503, "ServiceUnavailable"), Health.WARNING, "ServiceUnavailable"),
        (answers(404, b"<html>"), Health.BROKEN, "404"),
        (silence, Health.BROKEN, "no answer"),
    ],
)
def test_checking_sends_to_nobody(place: Place, act: Act, health: Health, word: str) -> None:
    async def main() -> None:
        async with place.opened(act, patience=2.0) as (channel, far):
            (finding,) = await channel.check()
            assert (finding.health, word in finding.what) == (health, True)
            assert set(far.requests[0].head[":path"].removeprefix("/3/device/")) == {"0"}
            assert health is Health.FINE or finding.hint or health is Health.WARNING or word == "404"

    asyncio.run(main())


@pytest.mark.parametrize(("hours", "side"), [(2, "behind"), (-2, "ahead")])
def test_checking_sees_a_wrong_clock(place: Place, hours: int, side: str) -> None:
    date = (place.clock.machine() + timedelta(hours=hours)).strftime("%a, %d %b %Y %H:%M:%S GMT")

    async def main() -> None:
        async with place.opened(answers(403, {"reason": "InvalidProviderToken"}, date=date)) as (channel, _):
            skew, verdict = await channel.check()
            assert (skew.health, verdict.health) == (Health.BROKEN, Health.BROKEN)
            assert side in skew.what
            assert "7200" in skew.what
            assert "clock" in verdict.hint

    asyncio.run(main())


def test_nothing_private_in_an_outcome(place: Place) -> None:
    for status, reason, _ in ROWS:
        text = repr(place.sent(refuses(status, reason))[0])
        assert not any(canary in text for canary in (DEVICE, "Canary", "eyJ", "C1"))
