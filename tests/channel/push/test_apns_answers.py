"""APNs: every answer of the table, waits, answers that are lost, and nobody there."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest
from h2.errors import ErrorCodes

from orchestrator.channel.base import (
    Health,
    Scope,
)
from orchestrator.channel.push.apns_errors import TABLE
from tests.channel.http2_end import (
    Act,
    answers,
    cuts,
    garbage,
    goes_away,
    half,
    hangs_up,
    refuses,
    resets,
    silence,
)
from tests.channel.push.apns_end import ENVELOPE, MINUTE, OK, ROWS, K, Place

TWICE = {"ExpiredProviderToken", "UnrelatedKeyIdInToken"}


@pytest.mark.parametrize(("status", "reason", "kind"), ROWS)
def test_rows(place: Place, status: int, reason: str, kind: K) -> None:
    outcome, requests = place.sent(refuses(status, reason))
    assert (outcome.kind, outcome.code, outcome.uncharted) == (kind, reason, False)
    assert requests == (2 if reason in TWICE else 1)
    if kind is K.STOP_CHANNEL:
        assert outcome.scope is Scope.ACCOUNT


def test_the_table_has_these_rows_and_no_other() -> None:
    assert {(status, reason) for status, reason, _ in ROWS} == set(TABLE)


@pytest.mark.parametrize(
    ("status", "reason", "wait", "scope"),
    [
        (429, "TooManyRequests", 5 * MINUTE, Scope.ADDRESS),
        (429, "TooManyProviderTokenUpdates", MINUTE, Scope.MESSAGE),
        (500, "InternalServerError", 15 * MINUTE, Scope.ACCOUNT),
        (503, "ServiceUnavailable", 15 * MINUTE, Scope.ACCOUNT),
        (503, "Shutdown", None, Scope.MESSAGE),
    ],
)
def test_waits(place: Place, status: int, reason: str, wait: timedelta | None, scope: Scope) -> None:
    outcome, _ = place.sent(refuses(status, reason))
    assert (outcome.retry_after, outcome.scope) == (wait, scope)


def test_a_named_wait_is_heard_though_none_is_documented(place: Place) -> None:
    outcome, _ = place.sent(answers(503, {"reason": "ServiceUnavailable"}, retry_after="90"))
    assert (outcome.kind, outcome.retry_after) == (K.RETRY_AFTER, timedelta(seconds=90))


@pytest.mark.parametrize(
    ("act", "kind", "code"),
    [
        (answers(400), K.DROP_MESSAGE, "400"),
        (answers(403), K.STOP_CHANNEL, "403"),
        (answers(404), K.STOP_CHANNEL, "404"),
        (answers(410), K.STOP_CHANNEL, "410"),
        (answers(429), K.RETRY_AFTER, "429"),
        (answers(500), K.RETRY, "500"),
        (answers(503, b"<!DOCTYPE html><p>That's an error."), K.RETRY, "503"),
        (answers(502, b"<html>"), K.RETRY, "502"),
        (answers(400, {"reason": 5}), K.DROP_MESSAGE, "400"),
        (answers(400, [1]), K.DROP_MESSAGE, "400"),
        (answers(400, {"reason": "token 5e1f is bad"}), K.DROP_MESSAGE, "400"),
        (answers(408), K.AMBIGUOUS, "408"),
        (answers(307, location="https://elsewhere.example"), K.STOP_CHANNEL, "307"),
        (answers(204), K.AMBIGUOUS, "204"),
        (answers(200, apns_id=""), K.AMBIGUOUS, "200"),
        (half(403), K.STOP_CHANNEL, "403"),
        (half(200), K.ACCEPTED, "200"),
        (half(410, b'{"reason":"Unregi'), K.STOP_CHANNEL, "410"),
    ],
)
def test_without_a_reason_the_status_decides(place: Place, act: Act, kind: K, code: str) -> None:
    outcome, requests = place.sent(act, patience=2.0)
    assert (outcome.kind, outcome.code, requests) == (kind, code, 1)


def test_a_hundred_unknown_reasons(place: Place) -> None:
    chance = random.Random(7)
    by_status = {400: K.DROP_MESSAGE, 403: K.STOP_CHANNEL, 410: K.STOP_CHANNEL, 429: K.RETRY_AFTER, 500: K.RETRY}
    asked = [(chance.choice(list(by_status)), f"New{chance.randrange(10**9)}") for _ in range(100)]

    async def main() -> None:
        async with place.opened(*(refuses(*each) for each in asked), OK) as (channel, far):
            for status, reason in asked:
                outcome = await channel.send(ENVELOPE)
                assert (outcome.kind, outcome.code, outcome.uncharted) == (by_status[status], reason, True)
            assert len(far.requests) == 100

    asyncio.run(main())


@pytest.mark.parametrize("reason", ["Unregistered", "ExpiredToken"])
def test_410_says_since_when(place: Place, reason: str) -> None:
    outcome, _ = place.sent(refuses(410, reason, timestamp=1790000000123))
    assert outcome.dead_since == datetime.fromtimestamp(1790000000, UTC) + timedelta(milliseconds=123)
    for odd in ("soon", -5, 10**15, None):
        assert place.sent(refuses(410, reason, timestamp=odd))[0].dead_since is None


@pytest.mark.parametrize(
    ("act", "kind", "code", "left"),
    [
        (resets(ErrorCodes.REFUSED_STREAM), K.RETRY, "refused", False),
        (goes_away(-2), K.RETRY, "refused", False),
        (goes_away(0), K.AMBIGUOUS, "broken", True),
        (resets(ErrorCodes.INTERNAL_ERROR), K.AMBIGUOUS, "broken", True),
        (hangs_up, K.AMBIGUOUS, "broken", True),
        (cuts, K.AMBIGUOUS, "broken", True),
        (garbage, K.AMBIGUOUS, "broken", True),
        (silence, K.AMBIGUOUS, "timeout", True),
    ],
)
def test_a_lost_answer_costs_one_request(place: Place, act: Act, kind: K, code: str, left: bool) -> None:
    outcome, requests = place.sent(act, patience=2.0)
    assert (outcome.kind, outcome.code, outcome.may_have_left, requests) == (kind, code, left, 1)
    assert outcome.detail in {"", "it went away Shutdown"}


def test_nobody_there(place: Place) -> None:
    async def main() -> None:
        async with place.opened(OK) as (channel, far):
            assert far.server is not None
            far.server.close()
            outcome = await channel.send(ENVELOPE)
            assert (outcome.kind, outcome.code, outcome.may_have_left) == (K.RETRY, "connect", False)
            (finding,) = await channel.check()
            assert finding.health is Health.BROKEN

    asyncio.run(main())
