"""SES: every error of the table, what words and headers add, and far ends that misbehave."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

import pytest

from orchestrator.channel.base import OutcomeClass, Scope
from orchestrator.channel.email.ses_errors import TABLE
from orchestrator.clock import ManualClock
from tests.channel.email.ses_mail import ENVELOPE, OK, TO, K, opened, refusal, sent
from tests.channel.far_end import Act, answers, cut, drip, garbage, hang_up, html, huge, reset, silence

# Every row of providers §8, and Amazon's common errors.
CODES: dict[OutcomeClass, list[tuple[int, str]]] = {
    K.RETRY_AFTER: [
        (429, "TooManyRequestsException"),
        (429, "Throttling"),
        (400, "ThrottlingException"),
        (400, "LimitExceededException"),
    ],
    K.DROP_MESSAGE: [(400, "MessageRejected"), (400, "BadRequestException")],
    K.STOP_CHANNEL: [
        (400, "AccountSuspendedException"),
        (400, "SendingPausedException"),
        (400, "MailFromDomainNotVerifiedException"),
        (404, "NotFoundException"),
        (403, "UnrecognizedClientException"),
        (403, "InvalidClientTokenId"),
        (403, "InvalidSignatureException"),
        (403, "SignatureDoesNotMatch"),
        (400, "IncompleteSignature"),
        (403, "MissingAuthenticationToken"),
        (403, "MissingAuthenticationTokenException"),
        (403, "ExpiredTokenException"),
        (400, "RequestExpired"),
        (403, "AccessDeniedException"),
        (403, "OptInRequired"),
    ],
    K.RETRY: [
        (500, "InternalServiceErrorException"),
        (500, "ConcurrentModificationException"),
        (503, "ServiceUnavailable"),
        (500, "InternalFailure"),
    ],
}
ROWS = [(status, name, kind) for kind, rows in CODES.items() for status, name in rows]


@pytest.mark.parametrize(("status", "name", "kind"), ROWS)
def test_every_error(clock: ManualClock, status: int, name: str, kind: OutcomeClass) -> None:
    outcome = sent(clock, refusal(status, name))
    assert (outcome.kind, outcome.code, outcome.uncharted, outcome.may_have_left) == (kind, name, False, True)
    assert outcome.scope is (Scope.MESSAGE if kind is K.DROP_MESSAGE else Scope.ACCOUNT)
    assert outcome.at_most == (1 if kind is K.RETRY else None)


def test_the_table_has_no_row_without_a_test() -> None:
    assert {name for _, name, _ in ROWS} == set(TABLE)


def test_errors_are_named_in_the_body_too(clock: ManualClock) -> None:
    for named in ({"__type": "com.amazonaws.sesv2#SendingPausedException"}, {"code": "SendingPausedException"}):
        outcome = sent(clock, answers(400, {**named, "Message": "paused"}))
        assert (outcome.kind, outcome.code, outcome.detail) == (
            K.STOP_CHANNEL,
            "SendingPausedException",
            "paused",
        )


@pytest.mark.parametrize(
    ("name", "message", "headers", "kind", "wait"),
    [
        ("TooManyRequestsException", "Maximum sending rate exceeded.", {}, K.RETRY_AFTER, timedelta(seconds=10)),
        ("TooManyRequestsException", "slow", {"retry_after": "7"}, K.RETRY_AFTER, timedelta(seconds=7)),
        ("Throttling", "Daily message quota exceeded.", {}, K.RETRY_AFTER, timedelta(hours=1)),
        ("LimitExceededException", "quota", {}, K.RETRY_AFTER, timedelta(hours=1)),
        ("MessageRejected", f"Email address is not verified: {TO}", {}, K.STOP_CHANNEL, None),
        ("InternalFailure", "x", {"retry_after": "9"}, K.RETRY_AFTER, timedelta(seconds=9)),
    ],
)
def test_what_the_words_and_headers_add(
    clock: ManualClock, name: str, message: str, headers: dict[str, str], kind: OutcomeClass, wait: timedelta | None
) -> None:
    outcome = sent(clock, refusal(400, name, message, **headers))
    assert (outcome.kind, outcome.retry_after) == (kind, wait)
    assert TO not in outcome.detail


def test_a_hundred_errors_nobody_knows(clock: ManualClock) -> None:
    chance = random.Random(8)
    for _ in range(100):
        status, name = chance.choice((400, 404, 409, 422, 429, 500, 501, 503)), f"Odd{chance.randrange(10**6)}Error"
        name = "".join(character for character in name if character.isalpha()) + chance.choice("ABCDEFG")
        outcome = sent(clock, refusal(status, name))
        expected = {404: K.STOP_CHANNEL, 429: K.RETRY_AFTER}.get(status, K.RETRY if status >= 500 else K.DROP_MESSAGE)
        assert (outcome.kind, outcome.code, outcome.uncharted) == (expected, name, True)


@pytest.mark.parametrize(
    ("act", "kind", "code"),
    [
        (html(502), K.RETRY, "502"),
        (html(403), K.STOP_CHANNEL, "403"),
        (answers(301, b"", location="http://127.0.0.1:1/"), K.STOP_CHANNEL, "301"),
        (answers(418), K.DROP_MESSAGE, "418"),
        (answers(408), K.AMBIGUOUS, "408"),
        (answers(200), K.AMBIGUOUS, "200"),
        (answers(200, {"MessageId": 7}), K.AMBIGUOUS, "200"),
        (answers(200, {"message": "odd"}), K.AMBIGUOUS, "200"),
        (html(200), K.AMBIGUOUS, "200"),
        (huge, K.AMBIGUOUS, "200"),
        (reset, K.AMBIGUOUS, "broken"),
        (hang_up, K.AMBIGUOUS, "broken"),
        (garbage, K.AMBIGUOUS, "broken"),
        (cut(200), K.AMBIGUOUS, "broken"),
        (silence, K.AMBIGUOUS, "timeout"),
        (drip, K.AMBIGUOUS, "timeout"),
    ],
)
def test_far_ends_that_misbehave_get_one_request(clock: ManualClock, act: Act, kind: OutcomeClass, code: str) -> None:
    outcome = sent(clock, act)
    assert (outcome.kind, outcome.code, outcome.may_have_left) == (kind, code, True)


def test_nobody_there_is_a_retry(clock: ManualClock) -> None:
    async def main() -> None:
        async with opened(clock, OK) as (channel, far):
            assert far.server is not None
            far.server.close()
            await far.server.wait_closed()
            outcome = await channel.send(ENVELOPE)
            assert (outcome.kind, outcome.may_have_left) == (K.RETRY, False)

    asyncio.run(main())
