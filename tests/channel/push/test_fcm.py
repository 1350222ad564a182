"""FCM: the request, one per attempt, and every row of its error table."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from orchestrator.channel.base import Envelope, Inquiry, Outcome, OutcomeClass, Payload, PushPayload, Scope, SmsPayload
from orchestrator.channel.push.fcm import FcmChannel
from orchestrator.channel.push.fcm_auth import ServiceAccount
from orchestrator.channel.push.fcm_message import apns_collapse_id, payload_size, problems
from orchestrator.channel.wire import Wire
from orchestrator.clock import ManualClock
from tests.channel.far_end import Act, FarEnd, answers, cut, drip, garbage, hang_up, html, huge, reset, silence
from tests.channel.late import begins_nothing_late

K = OutcomeClass
SEND = "/v1/projects/proj-1/messages:send"
NAME = "projects/proj-1/messages/0:123"
OK = answers(200, {"name": NAME})
ADDRESS = "dEvIcE0:APA91b-canary-address"
PAYLOAD = PushPayload(
    "Canarytitle", "Canarybody noodles", link="https://app.example/x", data={"coupon": "Canarycoupon"}
)
ENVELOPE = Envelope("4711", 1, ADDRESS, "token", PAYLOAD, timedelta(minutes=90), "run-7-user-9")
FCM = "type.googleapis.com/google.firebase.fcm.v1.FcmError"


@asynccontextmanager
async def opened(
    key: RSAPrivateKey, clock: ManualClock, *acts: Act, patience: float = 0.5
) -> AsyncIterator[tuple[FcmChannel, FarEnd]]:
    async with FarEnd() as far:
        tokens = [answers(200, {"access_token": f"t-{n}", "expires_in": 3600}) for n in (1, 2, 3)]
        far.plays("/token", *tokens).plays(SEND, *acts)
        service = ServiceAccount("proj-1", "push@p.example", "key-1", key, f"{far.url}/token")
        channel = FcmChannel(service, Wire(timedelta(seconds=patience)), clock, base_url=far.url)
        yield channel, far
        await channel.close()


def refusal(
    status: int, code: str = "", *, general: str = "", message: str = "", retry_after: str = "", **more: object
) -> Act:
    """Google's error shape."""
    details: list[object] = [{"@type": FCM, "errorCode": code}] if code else []
    details += [{"@type": f"type.googleapis.com/google.rpc.{name}", **_dict(value)} for name, value in more.items()]
    error = {"code": status, "message": message, "status": general, "details": details}
    return answers(status, {"error": error}, **({"Retry-After": retry_after} if retry_after else {}))


def _dict(value: object) -> dict[str, object]:
    assert isinstance(value, dict)
    return value


def sent(key: RSAPrivateKey, clock: ManualClock, *acts: Act, first: bool = False) -> tuple[Outcome, int]:
    """The outcome, and how many requests carried the message. ``first``: one of this shape was accepted before."""

    async def main() -> tuple[Outcome, int]:
        async with opened(key, clock, *([OK] if first else []), *acts) as (channel, far):
            if first:
                assert (await channel.send(replace(ENVELOPE, address="other"))).kind is K.ACCEPTED
            outcome = await channel.send(ENVELOPE)
            return outcome, len(far.seen(SEND)) - first

    return asyncio.run(main())


def test_the_request(key: RSAPrivateKey, clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(key, clock, OK) as (channel, far):
            outcome = await channel.send(ENVELOPE)
            assert outcome == Outcome(K.ACCEPTED, "200", NAME)
            (seen,) = far.seen(SEND)
            assert seen.headers["authorization"] == "Bearer t-1"
            assert seen.headers["content-type"].startswith("application/json")
            expires = int(clock.machine().timestamp()) + 5400
            assert seen.json == {
                "validate_only": False,
                "message": {
                    "token": ADDRESS,
                    "notification": {"title": "Canarytitle", "body": "Canarybody noodles"},
                    "data": {"coupon": "Canarycoupon", "link": "https://app.example/x", "msg_id": "4711"},
                    "android": {
                        "priority": "high",
                        "ttl": "5400s",
                        "collapse_key": "run-7-user-9",
                        "notification": {"tag": "run-7-user-9"},
                    },
                    "apns": {
                        "headers": {
                            "apns-priority": "10",
                            "apns-collapse-id": "run-7-user-9",
                            "apns-expiration": str(expires),
                        }
                    },
                    "webpush": {
                        "headers": {"TTL": "5400"},
                        "notification": {"tag": "run-7-user-9"},
                        "fcm_options": {"link": "https://app.example/x"},
                    },
                },
            }

    asyncio.run(main())


def test_one_token_for_many_messages(key: RSAPrivateKey, clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(key, clock, OK, patience=5) as (channel, far):
            outcomes = await asyncio.gather(*(channel.send(ENVELOPE) for _ in range(30)))
            assert {outcome.kind for outcome in outcomes} == {K.ACCEPTED}
            assert (len(far.seen("/token")), len(far.seen(SEND))) == (1, 30)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("ttl", "text"),
    [
        (timedelta(seconds=-5), "0s"),
        (timedelta(seconds=0.9), "0s"),
        (timedelta(seconds=59.9), "59s"),  # never past the window
        (timedelta(weeks=9), "2419200s"),
    ],
)
def test_ttl(key: RSAPrivateKey, clock: ManualClock, ttl: timedelta, text: str) -> None:
    async def main() -> None:
        async with opened(key, clock, OK) as (channel, far):
            await channel.send(replace(ENVELOPE, ttl=ttl, address_kind="fid"))
            message = far.seen(SEND)[0].json["message"]
            assert message["android"]["ttl"] == text
            assert (message["apns"]["headers"]["apns-expiration"] == "0") == (text == "0s")
            assert message["fid"] == ADDRESS
            assert "token" not in message

    asyncio.run(main())


def test_apns_collapse_id_fits_and_stays_apart() -> None:
    assert apns_collapse_id("k" * 64) == "k" * 64
    long = [apns_collapse_id("k" * 64 + end) for end in "ab"] + [apns_collapse_id("午餐")]
    assert len(set(long)) == 3
    assert all(len(each.encode()) <= 64 and each.isascii() for each in long)


# Every row of providers §1: status, answer, class, code; then what else the row says.
ROWS = [
    (refusal(400, "INVALID_ARGUMENT", message="Message is too big"), K.DROP_MESSAGE, "INVALID_ARGUMENT"),
    (
        refusal(400, general="INVALID_ARGUMENT", BadRequest={"fieldViolations": [{"field": "message.android.ttl"}]}),
        K.DROP_MESSAGE,
        "INVALID_ARGUMENT",
    ),
    (refusal(401, "THIRD_PARTY_AUTH_ERROR", general="UNAUTHENTICATED"), K.STOP_CHANNEL, "THIRD_PARTY_AUTH_ERROR"),
    (refusal(401, "APNS_AUTH_ERROR"), K.STOP_CHANNEL, "APNS_AUTH_ERROR"),
    (refusal(403, "SENDER_ID_MISMATCH", general="PERMISSION_DENIED"), K.DROP_ADDRESS, "SENDER_ID_MISMATCH"),
    (refusal(403, general="PERMISSION_DENIED"), K.STOP_CHANNEL, "PERMISSION_DENIED"),
    (refusal(404, "UNREGISTERED", general="NOT_FOUND"), K.DROP_ADDRESS, "UNREGISTERED"),
    (refusal(404, general="NOT_FOUND"), K.STOP_CHANNEL, "NOT_FOUND"),
    (answers(404), K.STOP_CHANNEL, "404"),
    (refusal(429, "QUOTA_EXCEEDED", general="RESOURCE_EXHAUSTED"), K.RETRY_AFTER, "QUOTA_EXCEEDED"),
    (refusal(429, general="RESOURCE_EXHAUSTED"), K.RETRY_AFTER, "RESOURCE_EXHAUSTED"),
    (answers(429), K.RETRY_AFTER, "429"),
    (refusal(500, "INTERNAL", general="INTERNAL"), K.RETRY, "INTERNAL"),
    (refusal(503, "UNAVAILABLE", general="UNAVAILABLE"), K.RETRY, "UNAVAILABLE"),
    (refusal(503, "UNAVAILABLE", retry_after="30"), K.RETRY_AFTER, "UNAVAILABLE"),
    (refusal(500, "INTERNAL", retry_after="30"), K.RETRY_AFTER, "INTERNAL"),
    (refusal(400, "UNSPECIFIED_ERROR"), K.RETRY, "UNSPECIFIED_ERROR"),
    (refusal(404, "UNSPECIFIED_ERROR"), K.RETRY, "UNSPECIFIED_ERROR"),
    (refusal(500, "UNSPECIFIED_ERROR"), K.RETRY, "UNSPECIFIED_ERROR"),
    (html(502), K.RETRY, "502"),
    (html(404), K.STOP_CHANNEL, "404"),
    (html(400), K.DROP_MESSAGE, "400"),
    (html(200), K.AMBIGUOUS, "200"),
    (answers(200, {}), K.AMBIGUOUS, "200"),
    (answers(200, {"name": 5}), K.AMBIGUOUS, "200"),
    (answers(200, [1]), K.AMBIGUOUS, "200"),
    (answers(204), K.AMBIGUOUS, "204"),
    (huge, K.AMBIGUOUS, "200"),
    (answers(307, location="/elsewhere"), K.STOP_CHANNEL, "307"),
    (answers(408), K.AMBIGUOUS, "408"),
    (answers(500, b'{"error": "text"}'), K.RETRY, "500"),
    (answers(500, b'{"error": {"details": [1, {"@type": 3}], "status": "<b>"}}'), K.RETRY, "500"),
]


@pytest.mark.parametrize(("act", "kind", "code"), ROWS)
def test_every_row_with_one_request(
    key: RSAPrivateKey, clock: ManualClock, act: Act, kind: OutcomeClass, code: str
) -> None:
    outcome, requests = sent(key, clock, act)
    assert (outcome.kind, outcome.code, outcome.uncharted) == (kind, code, code == "400")
    assert requests == 1
    assert outcome.may_have_left


TOKEN_BLAMED = [
    refusal(400, "INVALID_ARGUMENT", BadRequest={"fieldViolations": [{"field": "message.token"}]}),
    refusal(400, "INVALID_ARGUMENT", message="The registration token is not a valid FCM registration token"),
]


@pytest.mark.parametrize("act", TOKEN_BLAMED)
def test_a_malformed_token_dies_only_when_the_payload_is_proven(
    key: RSAPrivateKey, clock: ManualClock, act: Act
) -> None:
    assert sent(key, clock, act)[0].kind is K.DROP_MESSAGE
    assert sent(key, clock, act, first=True)[0].kind is K.DROP_ADDRESS
    other = refusal(400, "INVALID_ARGUMENT", message="Message is too big")
    assert sent(key, clock, other, first=True)[0].kind is K.DROP_MESSAGE


@pytest.mark.parametrize(
    ("header", "seconds"), [("", 60), ("90", 90), ("1", 10), ("-3", 60), ("soon", 60), ("31536000", 86400)]
)
def test_quota_waits(key: RSAPrivateKey, clock: ManualClock, header: str, seconds: int) -> None:
    outcome, _ = sent(key, clock, refusal(429, "QUOTA_EXCEEDED", retry_after=header))
    assert outcome.retry_after == timedelta(seconds=seconds)
    assert outcome.scope is Scope.ACCOUNT


def test_a_devices_quota_is_the_devices(key: RSAPrivateKey, clock: ManualClock) -> None:
    act = refusal(
        429,
        "QUOTA_EXCEEDED",
        QuotaFailure={"violations": [{"subject": "device:x", "description": "Device message rate exceeded"}]},
    )
    outcome, _ = sent(key, clock, act)
    assert (outcome.kind, outcome.scope, outcome.retry_after) == (K.RETRY_AFTER, Scope.ADDRESS, timedelta(minutes=1))


def test_retries_name_the_least_wait_and_unspecified_gets_three_tries(key: RSAPrivateKey, clock: ManualClock) -> None:
    for act in (html(502), refusal(500, "INTERNAL")):
        outcome, _ = sent(key, clock, act)
        assert (outcome.kind, outcome.retry_after, outcome.at_most) == (K.RETRY, timedelta(seconds=10), None)
    assert sent(key, clock, refusal(400, "UNSPECIFIED_ERROR"))[0].at_most == 2


def test_bad_credentials_of_the_project_stop_that_platform_only(key: RSAPrivateKey, clock: ManualClock) -> None:
    assert sent(key, clock, refusal(401, "THIRD_PARTY_AUTH_ERROR"))[0].scope is Scope.ADDRESS
    assert sent(key, clock, refusal(403, "PERMISSION_DENIED"))[0].scope is Scope.ACCOUNT


@pytest.mark.parametrize("act", [refusal(401, general="UNAUTHENTICATED"), answers(401), html(403), refusal(401, "NEW")])
def test_401_refreshes_once_then_stops(key: RSAPrivateKey, clock: ManualClock, act: Act) -> None:
    async def main() -> None:
        async with opened(key, clock, act) as (channel, far):
            outcome = await channel.send(ENVELOPE)
            assert (outcome.kind, outcome.scope) == (K.STOP_CHANNEL, Scope.ACCOUNT)
            assert [seen.headers["authorization"] for seen in far.seen(SEND)] == ["Bearer t-1", "Bearer t-2"]
            assert (await channel.send(ENVELOPE)).kind is K.STOP_CHANNEL
            assert (len(far.seen("/token")), len(far.seen(SEND))) == (2, 3)

    asyncio.run(main())


def test_nothing_begins_after_its_time(key: RSAPrivateKey, clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(key, clock, OK) as opening:
            await begins_nothing_late(*opening, ENVELOPE, SEND)

    asyncio.run(main())


def test_401_then_accepted(key: RSAPrivateKey, clock: ManualClock) -> None:
    outcome, requests = sent(key, clock, answers(401), OK)
    assert (outcome.kind, requests) == (K.ACCEPTED, 2)


@pytest.mark.parametrize("act", [reset, hang_up, silence, drip, garbage, cut(200), cut(404)])
def test_a_lost_answer_is_ambiguous_and_never_sent_again(key: RSAPrivateKey, clock: ManualClock, act: Act) -> None:
    outcome, requests = sent(key, clock, act)
    assert (outcome.kind, outcome.may_have_left, requests) == (K.AMBIGUOUS, True, 1)
    assert outcome.retry_after == timedelta(seconds=10)  # it will be sent again; Google: never sooner


def test_nothing_leaves_without_a_token(key: RSAPrivateKey, clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(key, clock, OK) as (channel, far):
            far.plays("/token", answers(400, {"error": "invalid_grant"}))
            outcome = await channel.send(ENVELOPE)
            assert (outcome.kind, outcome.may_have_left) == (K.STOP_CHANNEL, False)
            assert not far.seen(SEND)

    asyncio.run(main())


def test_a_server_that_is_down_certainly_got_nothing(key: RSAPrivateKey, clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(key, clock, OK) as (channel, far):
            await channel.send(ENVELOPE)
            assert far.server is not None
            far.server.close()
            outcome = await channel.send(ENVELOPE)
            assert (outcome.kind, outcome.may_have_left) == (K.RETRY, False)

    asyncio.run(main())


def test_100_unknown_codes_follow_the_default_rule(key: RSAPrivateKey, clock: ManualClock) -> None:
    chance = random.Random(20261201)
    expected = {
        400: K.DROP_MESSAGE,
        404: K.STOP_CHANNEL,
        409: K.DROP_MESSAGE,
        429: K.RETRY_AFTER,
        500: K.RETRY,
        504: K.RETRY,
    }

    async def main() -> None:
        async with opened(key, clock, OK, patience=5) as (channel, far):
            for _ in range(100):
                code = "".join(chance.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ_", k=12)).strip("_") or "X_Y"
                status = chance.choice(list(expected))
                far.plays(SEND, refusal(status, code))
                outcome = await channel.send(ENVELOPE)
                assert (outcome.kind, outcome.code, outcome.uncharted) == (expected[status], code, True)

    asyncio.run(main())


def test_nothing_of_ours_in_what_is_kept(key: RSAPrivateKey, clock: ManualClock) -> None:
    said = f"Token {ADDRESS} is bad: Canarytitle / noodles / Canarycoupon, Bearer t-1, Invalid value at message.token"
    outcome, _ = sent(key, clock, refusal(400, "INVALID_ARGUMENT", message=said))
    kept = repr(outcome).lower()
    assert "invalid value at message.token" in kept
    for canary in ("canary", "noodles", "apa91b", "device0"):
        assert canary not in kept


def test_payloads_that_cannot_be_sent(key: RSAPrivateKey, clock: ManualClock) -> None:
    bad: dict[str, Payload] = {
        "push payloads only": SmsPayload("x"),
        "data key 'from' is reserved": replace(PAYLOAD, data={"from": "x"}),
        "data key 'google.c' is reserved": replace(PAYLOAD, data={"google.c": "x"}),
        "data key 'msg_id' is reserved": replace(PAYLOAD, data={"msg_id": "x"}),
        "FCM takes 4096": replace(PAYLOAD, body="午" * 1400),
        "neither title nor body": PushPayload("", ""),
        "surrogate": PushPayload("\ud83d", "x"),
    }

    async def main() -> None:
        async with opened(key, clock, OK) as (channel, far):
            for said, payload in bad.items():
                assert any(said in problem for problem in channel.problems(payload))
                outcome = await channel.send(replace(ENVELOPE, payload=payload))
                assert (outcome.kind, outcome.may_have_left) == (K.DROP_MESSAGE, False)
                assert said in outcome.detail
            assert not far.requests
            inquiry = Inquiry("4711", ADDRESS, PAYLOAD, clock.machine())
            assert await channel.reconcile(inquiry) is None

    asyncio.run(main())


def test_the_limit_is_exact() -> None:
    room = 4096 - payload_size(PushPayload("t", ""))
    assert not problems(PushPayload("t", "x" * (room - len("body"))))
    assert problems(PushPayload("t", "x" * (room - len("body") + 1)))
