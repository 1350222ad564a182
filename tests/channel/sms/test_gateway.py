"""An SMS gateway by description: requests, answers, and what cannot be sent."""

from __future__ import annotations

import asyncio
import random
from base64 import b64encode
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.channel.base import (
    Inquiry,
    OutcomeClass,
    Payload,
    PushPayload,
    Scope,
    SmsPayload,
)
from orchestrator.clock import ManualClock
from tests.channel.far_end import Act, answers, cut, drip, garbage, hang_up, html, huge, reset, silence
from tests.channel.late import begins_nothing_late
from tests.channel.sms.gateway_end import (
    BODY,
    ENVELOPE,
    FORM_GATEWAY,
    JSON_GATEWAY,
    MINUTE,
    OK,
    PHONE,
    TOKEN,
    K,
    opened,
    requested,
    sent,
)


def test_the_json_request(clock: ManualClock) -> None:
    seen = requested(clock, JSON_GATEWAY)
    assert (seen.method, seen.target) == ("POST", "/v1/messages")
    assert seen.headers["authorization"] == f"Bearer {TOKEN}"
    assert seen.headers["content-type"] == "application/json"
    assert seen.json == {"to": PHONE, "text": BODY, "ref": "4711", "validity": 5400, "from": "Shop"}


def test_nothing_begins_after_its_time(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, JSON_GATEWAY, OK) as opening:
            await begins_nothing_late(*opening, ENVELOPE, "/v1/messages")

    asyncio.run(main())


def test_the_form_request(clock: ManualClock) -> None:
    seen = requested(clock, FORM_GATEWAY)
    assert seen.headers["content-type"] == "application/x-www-form-urlencoded; charset=gb18030"
    assert b"mobile=008613800138000&" in seen.body
    assert "午餐".encode("gb18030").hex("%").upper().encode() in seen.body.replace(b"%%", b"%").upper()
    assert seen.body.endswith(b"uid=4711")


def test_text_query_and_basic_authentication(clock: ManualClock) -> None:
    described: dict[str, Any] = {
        "user": "me",
        "request": {
            "method": "PUT",
            "path": "/send?v=2",
            "query": {"n": "{to}"},
            "headers": {"Authorization": "Basic {basic}", "Content-Type": "text/xml"},
            "text": "<sms>{text}{{}}</sms>",
            "number": "china",
        },
    }

    async def main() -> None:
        async with opened(clock, described, OK) as (channel, far):
            far.plays("/send", OK)
            assert (await channel.send(ENVELOPE)).kind is K.ACCEPTED
            (seen,) = far.requests
            assert (seen.method, seen.target) == ("PUT", "/send?v=2&n=13800138000")
            assert seen.headers["authorization"] == "Basic " + b64encode(f"me:{TOKEN}".encode()).decode()
            assert seen.headers["content-type"] == "text/xml"
            assert seen.body.decode() == f"<sms>{BODY}{{}}</sms>"  # what is filled in is not looked at again

    asyncio.run(main())


def refusal(status: int, code: object, **headers: str) -> Act:
    return answers(status, {"error": {"code": code, "message": "no"}}, **headers)


# Every rule of both descriptions.
ROWS = [
    (JSON_GATEWAY, refusal(400, 21), K.DROP_ADDRESS, "21", None, Scope.MESSAGE),
    (JSON_GATEWAY, refusal(401, 10), K.STOP_CHANNEL, "10", None, Scope.ACCOUNT),
    (JSON_GATEWAY, refusal(400, "20"), K.DROP_MESSAGE, "20", None, Scope.MESSAGE),
    (JSON_GATEWAY, refusal(429, 30), K.RETRY_AFTER, "30", timedelta(seconds=30), Scope.ACCOUNT),
    (JSON_GATEWAY, refusal(429, 30, retry_after="90"), K.RETRY_AFTER, "30", timedelta(seconds=90), Scope.ACCOUNT),
    (JSON_GATEWAY, refusal(429, 30, retry_after="1"), K.RETRY_AFTER, "30", timedelta(seconds=30), Scope.ACCOUNT),
    (JSON_GATEWAY, refusal(400, 40), K.SUPPRESS, "40", None, Scope.MESSAGE),
    (JSON_GATEWAY, refusal(200, 50), K.AMBIGUOUS, "50", None, Scope.MESSAGE),
    (JSON_GATEWAY, refusal(503, 95), K.RETRY, "^9[0-9]$", None, Scope.ACCOUNT),
    (JSON_GATEWAY, refusal(429, 31), K.RETRY_AFTER, "31", MINUTE, Scope.ADDRESS),
    (JSON_GATEWAY, refusal(200, 21), K.DROP_ADDRESS, "21", None, Scope.MESSAGE),  # 200 is no success
    (FORM_GATEWAY, answers(200, b"ERR:NUMBER 1"), K.DROP_ADDRESS, "^ERR:NUMBER", None, Scope.MESSAGE),
    (FORM_GATEWAY, answers(200, b"ERR:SPEED"), K.RETRY_AFTER, "^ERR:SPEED", timedelta(seconds=10), Scope.ACCOUNT),
    (FORM_GATEWAY, answers(200, b"ERR:AUTH"), K.STOP_CHANNEL, "^ERR:AUTH", None, Scope.ACCOUNT),
    (FORM_GATEWAY, answers(200, b"ERR:WHAT"), K.DROP_MESSAGE, "^ERR:", None, Scope.MESSAGE),
]


@pytest.mark.parametrize(("described", "act", "kind", "code", "wait", "scope"), ROWS)
def test_every_rule(
    clock: ManualClock,
    described: dict[str, Any],
    act: Act,
    kind: OutcomeClass,
    code: str,
    wait: timedelta | None,
    scope: Scope,
) -> None:
    outcome = sent(clock, act, described)
    assert (outcome.kind, outcome.code, outcome.uncharted) == (kind, code, False)
    assert (outcome.retry_after, outcome.scope) == (wait, scope)


@pytest.mark.parametrize(
    ("described", "act", "provider_id"),
    [
        (JSON_GATEWAY, OK, "GW1"),
        (JSON_GATEWAY, answers(200, {"data": {"id": 17}}), "17"),
        (JSON_GATEWAY | {"id": {"path": "0.ids.1"}}, answers(200, [{"ids": [1, "b"]}]), "b"),
        (JSON_GATEWAY | {"id": {"header": "X-Message-Id"}}, answers(200, b"", x_message_id="H-1"), "H-1"),
        (JSON_GATEWAY | {"id": None}, answers(200, b"whatever"), None),
        (FORM_GATEWAY, answers(200, b"OK:17 thanks"), "17"),
    ],
)
def test_accepted(clock: ManualClock, described: dict[str, Any], act: Act, provider_id: str | None) -> None:
    outcome = sent(clock, act, described)
    assert (outcome.kind, outcome.provider_id) == (K.ACCEPTED, provider_id)


@pytest.mark.parametrize(
    ("act", "kind", "uncharted"),
    [
        (answers(200, {}), K.AMBIGUOUS, False),  # accepted, it seems, without the id that would prove it
        (answers(200, {"data": {"id": "x" * 200}}), K.AMBIGUOUS, False),
        (answers(204), K.AMBIGUOUS, True),
        (answers(429), K.RETRY_AFTER, False),
        (answers(500), K.RETRY, False),
        (html(502), K.RETRY, False),
        (html(401), K.STOP_CHANNEL, False),
        (answers(404), K.STOP_CHANNEL, False),
        (answers(400), K.DROP_MESSAGE, True),
        (answers(302, location="/x"), K.STOP_CHANNEL, False),
        (answers(408), K.AMBIGUOUS, False),
        (huge, K.AMBIGUOUS, True),
    ],
)
def test_by_status(clock: ManualClock, act: Act, kind: OutcomeClass, uncharted: bool) -> None:
    outcome = sent(clock, act)
    assert (outcome.kind, outcome.uncharted) == (kind, uncharted)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
def test_a_server_error_that_nobody_described_is_tried_once_more_at_most(clock: ManualClock, status: int) -> None:
    """It may hide a text that was taken: README, "An SMS is not sent twice by us"."""
    outcome = sent(clock, html(status))
    assert (outcome.kind, outcome.at_most, outcome.may_have_left) == (K.RETRY, 1, True)


@pytest.mark.parametrize("described", [JSON_GATEWAY, FORM_GATEWAY])
@pytest.mark.parametrize("act", [reset, hang_up, silence, drip, garbage, cut(202), cut(400)])
def test_a_lost_answer_is_ambiguous_and_never_sent_again(
    clock: ManualClock, act: Act, described: dict[str, Any]
) -> None:
    outcome = sent(clock, act, described)
    assert (outcome.kind, outcome.may_have_left) == (K.AMBIGUOUS, True)


def test_100_unknown_codes_follow_the_default_rule(clock: ManualClock) -> None:
    chance = random.Random(20261201)
    expected = {400: K.DROP_MESSAGE, 409: K.DROP_MESSAGE, 422: K.DROP_MESSAGE, 207: K.AMBIGUOUS, 418: K.DROP_MESSAGE}

    async def main() -> None:
        async with opened(clock, JSON_GATEWAY, OK, patience=5) as (channel, far):
            for _ in range(100):
                status = chance.choice(list(expected))
                far.plays("/v1/messages", refusal(status, chance.randrange(100, 9999)))
                outcome = await channel.send(ENVELOPE)
                assert (outcome.kind, outcome.code, outcome.uncharted) == (expected[status], str(status), True)

    asyncio.run(main())


def test_nothing_of_ours_in_what_is_kept(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    words = f"refused: {PHONE} Noodles miss {TOKEN}"
    kept = repr(sent(clock, answers(400, words.encode()))) + caplog.text
    assert "refused" in kept
    for canary in ("138001", "Noodles", "canary"):
        assert canary not in kept


def test_payloads_that_cannot_be_sent(clock: ManualClock) -> None:
    bad: dict[str, Payload] = {
        "SMS payloads only": PushPayload("x", "y"),
        "empty body": SmsPayload(" \n"),
        "this gateway takes 1000": SmsPayload("x" * 1001),
        "a character that gb18030 has not": SmsPayload("x\ud83d"),
    }

    async def main() -> None:
        async with opened(clock, FORM_GATEWAY, OK) as (channel, far):
            for words, payload in bad.items():
                assert any(words in problem for problem in channel.problems(payload))
                outcome = await channel.send(replace(ENVELOPE, payload=payload))
                assert (outcome.kind, outcome.may_have_left) == (K.DROP_MESSAGE, False)
            assert not far.requests
            assert await channel.reconcile(Inquiry("1", PHONE, SmsPayload("x"), clock.machine())) is None

    asyncio.run(main())
