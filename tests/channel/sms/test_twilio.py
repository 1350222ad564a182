"""Twilio: the request, one per attempt; every row of its error table; the check."""

from __future__ import annotations

import asyncio
import random
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.channel.base import Finding, Health, Outcome, OutcomeClass, Payload, PushPayload, Scope, SmsPayload
from orchestrator.channel.sms.twilio import TwilioChannel, TwilioOptions
from orchestrator.channel.sms.twilio_callbacks import Signature
from orchestrator.channel.sms.twilio_errors import TABLE, kind_of, until_pacific_midnight
from orchestrator.channel.wire import Wire
from orchestrator.clock import ManualClock
from tests.channel.far_end import Act, FarEnd, answers, cut, drip, garbage, hang_up, html, huge, reset, silence
from tests.channel.late import begins_nothing_late
from tests.channel.sms.twilio_end import (
    AC,
    BODY,
    CALLBACK,
    ENVELOPE,
    HOUR,
    INQUIRY,
    MESSAGES,
    MINUTE,
    OK,
    PHONE,
    SID,
    K,
    opened,
    refusal,
    sent,
)


def test_the_request(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TWILIO_EDGE": "evil", "TWILIO_REGION": "au1", "HTTP_PROXY": "http://127.0.0.1:1"}.items():
        monkeypatch.setenv(name, value)

    async def main() -> None:
        async with opened(clock, OK) as (channel, far):
            assert await channel.send(ENVELOPE) == Outcome(K.ACCEPTED, "queued", SID)
            (seen,) = far.requests
            assert (seen.method, seen.target) == ("POST", MESSAGES)
            assert seen.headers["authorization"] == "Basic " + b64encode(f"{AC}:s3cret-canary".encode()).decode()
            assert seen.headers["content-type"] == "application/x-www-form-urlencoded"
            assert seen.form == {
                "To": PHONE,
                "From": "+15005550006",
                "Body": BODY,
                "ValidityPeriod": "5400",
                "StatusCallback": f"{CALLBACK}/status?m=4711",
            }

    asyncio.run(main())


def test_nothing_begins_after_its_time(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, OK) as opening:
            await begins_nothing_late(*opening, ENVELOPE, MESSAGES)

    asyncio.run(main())


def test_a_question_asked_after_a_late_message_is_asked(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, answers(200, {"messages": [], "next_page_uri": None})) as (channel, far):
            await channel.send(replace(ENVELOPE, begin_by=0.0))
            assert not far.requests
            outcome = await channel.reconcile(INQUIRY)
            assert outcome is not None
            assert outcome.code == "never_arrived"

    asyncio.run(main())


def test_a_messaging_service_instead_of_a_sender(clock: ManualClock) -> None:
    async def main() -> None:
        service = "MG" + "0" * 32
        async with opened(clock, OK, messaging_service_sid=service) as (channel, far):
            await channel.send(ENVELOPE)
            assert far.requests[0].form["MessagingServiceSid"] == service

    asyncio.run(main())


@pytest.mark.parametrize(
    ("seconds", "period"), [(-1, "5"), (0, "5"), (5.9, "5"), (60, "60"), (36000, "36000"), (99999, "36000")]
)
def test_validity_ends_with_the_window(clock: ManualClock, seconds: float, period: str) -> None:
    async def main() -> None:
        async with opened(clock, OK) as (channel, far):
            await channel.send(replace(ENVELOPE, ttl=timedelta(seconds=seconds)))
            assert far.requests[0].form["ValidityPeriod"] == period

    asyncio.run(main())


# Every row of providers §5, in its order.
CODES: dict[OutcomeClass, list[int]] = {
    K.RETRY_AFTER: [20429, 30001, 21611, 30022, 30017, 30023, 30454, 63018, 30450, 30453, 30610],
    K.RETRY: [30500],
    K.AMBIGUOUS: [30410, 30008, 30046],
    K.SUPPRESS: [21610, 30004],
    K.DROP_ADDRESS: [21211, 21614, 21217, 30005, 30006],
    K.DROP_MESSAGE: [30036, 30003, 21408, 21612, 21602, 21617, 30019, 30007],
    K.STOP_CHANNEL: [20003, 30002, 20005, 21606, 21703, 30024, 30032, 30033, 30034, 30035, 30037],
}
ROWS = [(code, kind) for kind, codes in CODES.items() for code in codes]


@pytest.mark.parametrize(("code", "kind"), ROWS)
def test_every_code(clock: ManualClock, code: int, kind: OutcomeClass) -> None:
    outcome = sent(clock, refusal(400, code))
    assert (outcome.kind, outcome.code, outcome.uncharted, outcome.may_have_left) == (kind, str(code), False, True)
    assert outcome.scope is (Scope.ACCOUNT if kind is K.STOP_CHANNEL else outcome.scope)


def test_the_table_has_no_row_without_a_test() -> None:
    assert {code for code, _ in ROWS} == set(TABLE)


@pytest.mark.parametrize(
    ("code", "wait", "scope"),
    [
        (20429, MINUTE, Scope.ACCOUNT),
        (30001, MINUTE, Scope.ACCOUNT),
        (30022, MINUTE, Scope.ACCOUNT),
        (30023, 5 * HOUR, Scope.ACCOUNT),  # 19:00 in Los Angeles
        (30454, 6 * HOUR, Scope.ACCOUNT),
        (63018, HOUR, Scope.ACCOUNT),
        (30450, 30 * MINUTE, Scope.MESSAGE),
        (30453, 6 * HOUR, Scope.MESSAGE),
        (30610, HOUR, Scope.MESSAGE),
        (30035, 24 * HOUR, Scope.ACCOUNT),
    ],
)
def test_waits(clock: ManualClock, code: int, wait: timedelta, scope: Scope) -> None:
    outcome = sent(clock, refusal(429, code))
    assert (outcome.retry_after, outcome.scope) == (wait, scope)


def test_an_unreachable_handset_counts_against_its_address(clock: ManualClock) -> None:
    outcome = sent(clock, refusal(400, 30003))
    assert (outcome.kind, outcome.scope) == (K.DROP_MESSAGE, Scope.ADDRESS)


@pytest.mark.parametrize(
    ("act", "kind", "wait", "at_most"),
    [
        (answers(429), K.RETRY_AFTER, MINUTE, None),
        (refusal(429, 20429, retry_after="7"), K.RETRY_AFTER, timedelta(seconds=7), None),
        (answers(429, b"<html>", retry_after="7"), K.RETRY_AFTER, timedelta(seconds=7), None),
        (answers(500), K.RETRY, None, 1),
        (html(502), K.RETRY, None, 1),
        (refusal(503, 20503), K.RETRY, None, 1),
        (answers(503, retry_after="7"), K.RETRY_AFTER, timedelta(seconds=7), 1),
        (answers(504), K.RETRY, None, 1),
        (html(400), K.DROP_MESSAGE, None, None),
        (html(401), K.STOP_CHANNEL, None, None),
        (html(403), K.STOP_CHANNEL, None, None),
        (refusal(404, 20404), K.STOP_CHANNEL, None, None),
        (answers(405), K.STOP_CHANNEL, None, None),
        (answers(307, location="/elsewhere"), K.STOP_CHANNEL, None, None),
        (answers(408), K.AMBIGUOUS, None, None),
        (html(200), K.AMBIGUOUS, None, None),
        (answers(201), K.AMBIGUOUS, None, None),
        (answers(201, {}), K.AMBIGUOUS, None, None),
        (answers(201, [1]), K.AMBIGUOUS, None, None),
        (answers(201, {"sid": 5}), K.AMBIGUOUS, None, None),
        (answers(201, {"sid": "XX1"}), K.AMBIGUOUS, None, None),
        (answers(201, {"sid": SID, "date_created": "never"}), K.ACCEPTED, None, None),
        (huge, K.AMBIGUOUS, None, None),
        (answers(400, {"type": "https://x", "title": "Bad", "status": 400, "code": 21211}), K.DROP_ADDRESS, None, None),
        (answers(400, {"code": "21610", "message": 5}), K.SUPPRESS, None, None),
    ],
)
def test_by_status(
    clock: ManualClock, act: Act, kind: OutcomeClass, wait: timedelta | None, at_most: int | None
) -> None:
    outcome = sent(clock, act)
    assert (outcome.kind, outcome.retry_after, outcome.at_most) == (kind, wait, at_most)


@pytest.mark.parametrize("act", [reset, hang_up, silence, drip, garbage, cut(201), cut(400)])
def test_a_lost_answer_is_ambiguous_and_never_sent_again(clock: ManualClock, act: Act) -> None:
    outcome = sent(clock, act)
    assert (outcome.kind, outcome.may_have_left) == (K.AMBIGUOUS, True)


def test_a_server_that_is_down_certainly_got_nothing(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, OK) as (channel, far):
            assert far.server is not None
            far.server.close()
            outcome = await channel.send(ENVELOPE)
            assert (outcome.kind, outcome.may_have_left) == (K.RETRY, False)

    asyncio.run(main())


def test_100_unknown_codes_follow_the_default_rule(clock: ManualClock) -> None:
    chance = random.Random(20261201)
    expected = {400: K.DROP_MESSAGE, 404: K.STOP_CHANNEL, 409: K.DROP_MESSAGE, 429: K.RETRY_AFTER, 403: K.STOP_CHANNEL}

    async def main() -> None:
        async with opened(clock, OK, patience=5) as (channel, far):
            for _ in range(100):
                code = chance.choice([code for code in range(10_000, 70_000) if code not in TABLE])
                status = chance.choice(list(expected))
                far.plays(MESSAGES, refusal(status, code))
                outcome = await channel.send(ENVELOPE)
                assert (outcome.kind, outcome.code, outcome.uncharted) == (expected[status], str(code), True)

    asyncio.run(main())


def test_nothing_of_ours_in_what_is_kept_or_logged(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    said = f"The 'To' number {PHONE} is not valid: (555) 867-5309, body 'Noodles miss', s3cret"
    kept = repr(sent(clock, refusal(400, 21211, said))) + caplog.text
    assert "The 'To' number" in kept
    for canary in ("867", "Noodles", "Ümit", "canary"):
        assert canary not in kept


def test_payloads_that_cannot_be_sent(clock: ManualClock) -> None:
    bad: dict[str, Payload] = {
        "SMS payloads only": PushPayload("x", "y"),
        "empty body": SmsPayload(" \n"),
        "Twilio takes 1600": SmsPayload("x" * 1601),
        "surrogate": SmsPayload("x\ud83d"),
    }

    async def main() -> None:
        async with opened(clock, OK) as (channel, far):
            for said, payload in bad.items():
                assert any(said in problem for problem in channel.problems(payload))
                outcome = await channel.send(replace(ENVELOPE, payload=payload))
                assert (outcome.kind, outcome.may_have_left) == (K.DROP_MESSAGE, False)
            assert not far.requests
            assert channel.problems(SmsPayload("x" * 1600)) == []

    asyncio.run(main())


def test_midnight_in_california_over_the_clock_change() -> None:
    for now, wait in [
        (datetime(2026, 12, 1, 7, 59, tzinfo=UTC), MINUTE),
        (datetime(2026, 12, 1, 8, 0, tzinfo=UTC), 24 * HOUR),
        (datetime(2027, 3, 14, 9, 0, tzinfo=UTC), 22 * HOUR),  # 01:00 on a day of 23 hours
    ]:
        assert until_pacific_midnight(now) == wait


def test_what_a_callbacks_code_means() -> None:
    assert [kind_of(code) for code in ("30005", "21610", "30034", "30003", "30008", "", "99999", "x", "٣")] == [
        K.DROP_ADDRESS,
        K.SUPPRESS,
        K.STOP_CHANNEL,
        *[None] * 6,
    ]


@pytest.mark.parametrize(
    ("act", "health", "says"),
    [
        (answers(200, {"sid": AC, "status": "active"}), Health.FINE, "active"),
        (answers(200, {"sid": AC, "status": "suspended"}), Health.BROKEN, "suspended"),
        (answers(200, {"sid": AC, "status": "closed"}), Health.BROKEN, "closed"),
        (answers(200, {"sid": AC}), Health.WARNING, "does not say"),
        (html(200), Health.WARNING, "does not say"),
        (refusal(401, 20003, "s3cret-canary"), Health.BROKEN, "refuses the credentials"),
        (refusal(503, 20500), Health.WARNING, "503"),
        (silence, Health.BROKEN, "cannot be reached"),
    ],
)
def test_a_check_asks_for_the_account_alone(clock: ManualClock, act: Act, health: Health, says: str) -> None:
    async def main() -> Sequence[Finding]:
        async with FarEnd().plays(f"/2010-04-01/Accounts/{AC}.json", act) as far:
            options = TwilioOptions.model_validate(
                {"account_sid": AC, "auth_token_file": Path("x"), "base_url": far.url, "from": "+15005550006"}
            )
            transport, signature = Wire(timedelta(seconds=0.5)), Signature("s3cret-canary", None)
            channel = TwilioChannel(options, "s3cret-canary", transport, clock, signature=signature)
            found = await channel.check()
            assert [request.method for request in far.requests] == ["GET"]
            await channel.close()
            return found

    found = asyncio.run(main())
    assert found[0].health is health
    assert says in found[0].what
    assert "s3cret" not in repr(found)
