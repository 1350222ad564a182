"""Web Push: the request, one per attempt, and every row of its error table."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import http_ece
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator.channel.base import Envelope, Inquiry, Outcome, OutcomeClass, PushPayload, Scope, SmsPayload
from orchestrator.channel.outward import Outward
from orchestrator.channel.push.webpush import WebPushChannel
from orchestrator.channel.push.webpush_crypto import base64url, public_point, unbase64url
from orchestrator.channel.push.webpush_endpoint import Endpoints
from orchestrator.channel.push.webpush_errors import BY_STATUS, OTHER_KEY, TABLE
from orchestrator.channel.push.webpush_message import topic_of
from orchestrator.channel.push.webpush_vapid import Vapid
from orchestrator.clock import ManualClock
from tests.channel.far_end import Act, FarEnd, answers, cut, drip, garbage, hang_up, html, huge, reset, silence

K = OutcomeClass
PUSH = "/wpush/v2/canary-endpoint-secret"
BROWSER = ec.generate_private_key(ec.SECP256R1())
AUTH = b"0123456789abcdef"
DETAILS = {"p256dh": base64url(public_point(BROWSER)), "auth": base64url(AUTH)}
PAYLOAD = PushPayload(
    "Canarytitle",
    "Canarybody 午餐",
    link="https://app.example/x",
    image="https://i.example/n.png",
    data={"coupon": "A"},
)
ENVELOPE = Envelope("4711", 1, "", "webpush", PAYLOAD, timedelta(minutes=90), "r7-9-1", DETAILS, "4711.ack")
KEY = ec.generate_private_key(ec.SECP256R1())
CREATED = answers(201, b"", location="https://push.example/m/canary-message-secret")


@asynccontextmanager
async def opened(
    clock: ManualClock, *acts: Act, patience: float = 0.5, **options: Any
) -> AsyncIterator[tuple[WebPushChannel, FarEnd, Envelope]]:
    async with FarEnd() as far:
        far.plays(PUSH, *acts)
        vapid = Vapid(KEY, "mailto:push@food.example", clock)
        services = Outward(timedelta(seconds=patience), clock)
        channel = WebPushChannel(vapid, Endpoints(origin=far.url), services, clock, **options)
        yield channel, far, replace(ENVELOPE, address=far.url + PUSH)
        await channel.close()


def sent(clock: ManualClock, *acts: Act, patience: float = 0.5, **options: Any) -> tuple[Outcome, int]:
    """The outcome, and how many requests it took."""

    async def main() -> tuple[Outcome, int]:
        async with opened(clock, *acts, patience=patience, **options) as (channel, far, envelope):
            return await channel.send(envelope), len(far.requests)

    return asyncio.run(main())


def opened_by_the_browser(body: bytes) -> Any:
    return orjson.loads(http_ece.decrypt(body, private_key=BROWSER, auth_secret=AUTH))


def test_the_request(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, CREATED, patience=5) as (channel, far, envelope):
            outcome = await channel.send(envelope)
            assert (outcome.kind, outcome.code) == (K.ACCEPTED, "201")
            assert (outcome.provider_id or "").startswith("loc-")
            (seen,) = far.requests
            assert b"Canary" not in seen.body
            assert opened_by_the_browser(seen.body) == {
                "title": "Canarytitle",
                "body": "Canarybody 午餐",
                "link": "https://app.example/x",
                "image": "https://i.example/n.png",
                "data": {"coupon": "A"},
                "msg_id": "4711",
                "tag": "r7-9-1",
                "ack": "4711.ack",
            }
            wanted = {"ttl": "5400", "urgency": "normal", "content-encoding": "aes128gcm"}
            assert {name: seen.headers[name] for name in wanted} == wanted
            assert seen.headers["authorization"].startswith("vapid t=")
            assert "topic" not in seen.headers
            await channel.send(replace(envelope, ack=""))
            assert "ack" not in opened_by_the_browser(far.requests[1].body)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("ttl", "text"),
    [
        (timedelta(seconds=-5), "0"),
        (timedelta(seconds=0.9), "0"),
        (timedelta(seconds=59.9), "59"),  # never past the window
        (timedelta(weeks=9), "2419200"),
    ],
)
def test_ttl_is_always_there(clock: ManualClock, ttl: timedelta, text: str) -> None:
    async def main() -> None:
        async with opened(clock, CREATED, urgency="high") as (channel, far, envelope):
            await channel.send(replace(envelope, ttl=ttl))
            assert (far.requests[0].headers["ttl"], far.requests[0].headers["urgency"]) == (text, "high")

    asyncio.run(main())


def test_a_topic_is_32_characters_that_decode(clock: ManualClock) -> None:
    assert topic_of("r7-9-1") == topic_of("r7-9-1") != topic_of("r7-9-2")
    assert len(topic_of("x")) == 32
    assert len(unbase64url(topic_of("x"))) == 24

    async def main() -> None:
        async with opened(clock, CREATED, use_topic=True) as (channel, far, envelope):
            await channel.send(envelope)
            assert far.requests[0].headers["topic"] == topic_of("r7-9-1")

    asyncio.run(main())


TOPIC_ERRORS = [
    answers(400, {"reason": "BadWebPushTopic"}),
    answers(400, {"code": 400, "errno": 113, "error": "Bad Request", "message": "Invalid Topic header"}),
    answers(400, b"invalid Topic"),
]


@pytest.mark.parametrize("refusal", TOPIC_ERRORS)
def test_a_refused_topic_is_left_out_once(clock: ManualClock, refusal: Act) -> None:
    async def main() -> None:
        async with opened(clock, refusal, CREATED, use_topic=True) as (channel, far, envelope):
            assert (await channel.send(envelope)).kind is K.ACCEPTED
            assert [("topic" in seen.headers) for seen in far.requests] == [True, False]
        async with opened(clock, refusal, use_topic=True) as (channel, far, envelope):
            assert (await channel.send(envelope)).kind is K.DROP_MESSAGE
            assert len(far.requests) == 2

    asyncio.run(main())
    assert sent(clock, refusal)[1] == 1  # without a Topic there is nothing to leave out


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_what_counts_as_accepted(clock: ManualClock, status: int) -> None:
    outcome, requests = sent(clock, answers(status, b""))
    assert outcome == Outcome(K.ACCEPTED, str(status), "webpush-4711")
    assert requests == 1


def test_ids_are_apples_own_or_a_name_for_the_location(clock: ManualClock) -> None:
    outcome, _ = sent(clock, answers(201, b"", apns_id="EF7A-1"))
    assert outcome.provider_id == "EF7A-1"
    outcome, _ = sent(clock, CREATED)
    assert "canary" not in str(outcome)


def body_of(code: str) -> dict[str, object]:
    if code.startswith("errno_"):
        return {"code": 400, "errno": int(code.removeprefix("errno_")), "error": "X", "message": "of autopush"}
    return {"reason": code}


@pytest.mark.parametrize(("row", "rule"), TABLE.items(), ids=lambda each: str(each)[:40])
def test_every_code(clock: ManualClock, row: tuple[int, str], rule: Any) -> None:
    outcome, requests = sent(clock, answers(row[0], body_of(row[1])))
    assert (outcome.kind, outcome.code, outcome.scope, requests) == (rule.kind, row[1], rule.scope, 1)
    assert not outcome.uncharted


@pytest.mark.parametrize(
    ("status", "kind", "scope"),
    [
        (400, K.DROP_MESSAGE, Scope.MESSAGE),
        (401, K.STOP_CHANNEL, Scope.ACCOUNT),
        (403, K.STOP_CHANNEL, Scope.ACCOUNT),
        (404, K.DROP_ADDRESS, Scope.MESSAGE),
        (405, K.DROP_MESSAGE, Scope.MESSAGE),  # the endpoint is one person's: no account is stopped for it
        (410, K.DROP_ADDRESS, Scope.MESSAGE),
        (413, K.DROP_MESSAGE, Scope.MESSAGE),
        (429, K.RETRY_AFTER, Scope.ACCOUNT),
        (500, K.RETRY, Scope.ACCOUNT),
        (502, K.RETRY, Scope.ACCOUNT),
        (503, K.RETRY, Scope.ACCOUNT),
        (504, K.RETRY, Scope.ACCOUNT),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<!DOCTYPE html><title>Error</title>", b"{}", b"[]"])
def test_every_status_without_a_code(clock: ManualClock, status: int, kind: K, scope: Scope, body: bytes) -> None:
    outcome, requests = sent(clock, answers(status, body))
    assert (outcome.kind, outcome.code, outcome.scope, requests) == (kind, str(status), scope, 1)
    assert not outcome.uncharted


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"reason": "VapidPkHashMismatch"}),
        (403, {"reason": "VapidPkHashMismatch"}),
        (401, {"code": 401, "errno": 109, "error": "Unauthorized", "message": "VAPID public key mismatch"}),
        (
            403,
            b"the VAPID credentials in the authorization header do not correspond to the credentials used for them.",
        ),
    ],
)
def test_a_subscription_of_another_key_costs_itself_alone(clock: ManualClock, status: int, body: object) -> None:
    outcome, _ = sent(clock, answers(status, body))
    assert (outcome.kind, outcome.code) == (K.DROP_ADDRESS, OTHER_KEY)


def test_a_refused_token_is_not_used_again(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, answers(403, {"reason": "BadJwtToken"}), CREATED) as (channel, far, envelope):
            assert (await channel.send(envelope)).kind is K.STOP_CHANNEL
            assert (await channel.send(envelope)).kind is K.ACCEPTED
            first, second = (seen.headers["authorization"] for seen in far.requests)
            assert first != second

    asyncio.run(main())


@pytest.mark.parametrize("status", [301, 307, 308])
def test_a_moved_endpoint_is_dead_when_its_service_names_the_new_one(clock: ManualClock, status: int) -> None:
    async def main() -> None:
        async with opened(clock) as (channel, far, envelope):
            far.plays(PUSH, answers(status, b"", location=f"{far.url}/wpush/v2/new"))
            assert (await channel.send(envelope)).kind is K.DROP_ADDRESS
            assert len(far.requests) == 1

    asyncio.run(main())


@pytest.mark.parametrize(("status", "uncharted"), [(301, False), (302, True), (303, True), (307, False), (308, False)])
@pytest.mark.parametrize("location", ["", "https://evil.example/", "http://10.0.0.1/", "/relative", "file:///x"])
def test_other_redirects_cost_neither_address_nor_account(
    clock: ManualClock, status: int, uncharted: bool, location: str
) -> None:
    outcome, requests = sent(clock, answers(status, b"", location=location))
    assert (outcome.kind, outcome.scope, requests) == (K.STOP_CHANNEL, Scope.ADDRESS, 1)
    assert outcome.uncharted is uncharted


def test_100_unknown_codes(clock: ManualClock) -> None:
    chance = random.Random(15)
    statuses = [*BY_STATUS, 402, 406, 409, 418, 421, 422, 451, 499, 501, 505, 520, 599]

    async def main() -> None:
        async with FarEnd() as far:
            vapid = Vapid(KEY, "mailto:push@food.example", clock)
            channel = WebPushChannel(vapid, Endpoints(origin=far.url), Outward(timedelta(seconds=5), clock), clock)
            for number in range(100):
                status = chance.choice(statuses)
                code = chance.choice([f"Unheard{chance.randrange(10**6)}", f"errno_{chance.randrange(1000, 9999)}"])
                far.plays(f"/{number}", answers(status, body_of(code)))
                outcome = await channel.send(replace(ENVELOPE, address=f"{far.url}/{number}"))
                usual = BY_STATUS[status].kind if status in BY_STATUS else K.RETRY if status >= 500 else K.DROP_MESSAGE
                assert (outcome.kind, outcome.code, outcome.uncharted) == (usual, code, True)
            await channel.close()

    asyncio.run(main())


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_named_wait_is_kept(clock: ManualClock, status: int) -> None:
    outcome, requests = sent(clock, answers(status, Retry_After="120"))
    assert (outcome.kind, outcome.retry_after, requests) == (K.RETRY_AFTER, timedelta(seconds=120), 1)


@pytest.mark.parametrize("use_topic", [False, True])
@pytest.mark.parametrize("act", [silence, reset, hang_up, garbage, drip])
def test_a_lost_answer_is_ambiguous_after_one_request(clock: ManualClock, act: Act, use_topic: bool) -> None:
    outcome, requests = sent(clock, act, use_topic=use_topic)
    assert (outcome.kind, outcome.may_have_left, requests) == (K.AMBIGUOUS, True, 1)
    assert WebPushChannel.ambiguity == "resend"


def test_strange_answers(clock: ManualClock) -> None:
    assert sent(clock, html(502))[0].kind is K.RETRY
    assert sent(clock, html(410))[0].kind is K.DROP_ADDRESS
    assert sent(clock, huge, patience=5)[0].kind is K.ACCEPTED
    assert sent(clock, cut(201))[0].kind is K.AMBIGUOUS
    assert sent(clock, answers(206, b""))[0].kind is K.AMBIGUOUS


def test_nothing_private_is_said(clock: ManualClock) -> None:
    words = f"bad {PUSH} {DETAILS['auth']} Canarytitle Canarybody {DETAILS['p256dh']} 4711.ack"
    for body in ({"reason": "BadWebPushRequest", "message": words}, words.encode()):
        outcome, _ = sent(clock, answers(400, body))
        said = str(outcome)
        for private in (PUSH[10:], DETAILS["auth"], DETAILS["p256dh"], "Canary", "4711.ack"):
            assert private not in said


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"details": {}}, "keys"),
        ({"details": {**DETAILS, "p256dh": "AAAA"}}, "keys"),
        ({"address": "http://updates.push.services.mozilla.com/wpush/x"}, "endpoint"),
        ({"address": "not a url"}, "endpoint"),
        ({"address": ""}, "endpoint"),
    ],
)
def test_what_is_no_subscription_gets_nothing(clock: ManualClock, change: dict[str, Any], code: str) -> None:
    async def main() -> None:
        async with opened(clock, CREATED) as (channel, far, envelope):
            outcome = await channel.send(replace(envelope, **change))
            assert (outcome.kind, outcome.code, outcome.may_have_left) == (K.DROP_ADDRESS, code, False)
            assert far.connections == 0

    asyncio.run(main())


def test_an_endpoint_that_our_own_settings_leave_out_gets_nothing_and_stays(clock: ManualClock) -> None:
    """A service missing from ``allow``, or a ``base_url`` left over from a test: nobody's subscription ends for it."""

    async def main() -> None:
        async with opened(clock, CREATED) as (channel, far, envelope):
            real = "https://updates.push.services.mozilla.com/wpush/v2/secret"
            outcome = await channel.send(replace(envelope, address=real))
            assert (outcome.kind, outcome.code, outcome.may_have_left) == (
                K.DROP_MESSAGE,
                "endpoint_not_allowed",
                False,
            )
            assert "secret" not in outcome.detail
            assert far.connections == 0

    asyncio.run(main())


@pytest.mark.parametrize(
    "payload", [SmsPayload("x"), PushPayload("", ""), PushPayload("\ud800", "x"), PushPayload("x" * 2600, "")]
)
def test_what_no_service_takes_is_not_sent(clock: ManualClock, payload: Any) -> None:
    async def main() -> None:
        async with opened(clock, CREATED) as (channel, far, envelope):
            assert channel.problems(payload)
            outcome = await channel.send(replace(envelope, payload=payload))
            assert (outcome.kind, outcome.may_have_left) == (K.DROP_MESSAGE, False)
            assert far.requests == []
            assert await channel.reconcile(Inquiry("4711", "", PAYLOAD, clock.machine())) is None

    asyncio.run(main())


def test_random_unicode_up_to_the_limit_is_never_too_big(clock: ManualClock) -> None:
    """R26: what ``problems`` lets through is at most 2,600 bytes with the longest id, and 2,744 on the wire."""
    chance = random.Random(26)

    async def main() -> None:
        async with opened(clock, CREATED, patience=5) as (channel, far, envelope):
            let_through = 0
            for _ in range(300):
                text = "".join(chance.choices('aé午\U0001f35c"\\\n\x00', k=chance.randrange(200, 1600)))
                payload = replace(PAYLOAD, body=text)
                longest = replace(envelope, payload=payload, message_id="9" * 19, collapse_key="r" * 60, ack="a" * 200)
                outcome = await channel.send(longest)
                fits = not channel.problems(payload)
                assert (outcome.kind is K.ACCEPTED) == fits
                let_through += fits
            assert 0 < let_through < 300
            assert max(len(seen.body) for seen in far.requests) <= 2600 + 103 <= 2744

    asyncio.run(main())


def test_an_ack_longer_than_foreseen_is_noticed(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, CREATED) as (channel, far, envelope):
            outcome = await channel.send(replace(envelope, ack="a" * 2600))
            assert (outcome.kind, outcome.may_have_left, far.connections) == (K.DROP_MESSAGE, False, 0)

    asyncio.run(main())
