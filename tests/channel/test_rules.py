"""The default rules of providers §0.3, row by row."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orchestrator.channel.base import OutcomeClass, Scope
from orchestrator.channel.rules import by_status, unanswered, uncharted, unsendable
from orchestrator.channel.transport import Failure, NoAnswer

K = OutcomeClass
MINUTE = timedelta(minutes=1)
WAIT = timedelta(seconds=7)

ROWS = [
    (200, K.AMBIGUOUS),  # without the expected id
    (201, K.AMBIGUOUS),
    (202, K.AMBIGUOUS),
    (301, K.STOP_CHANNEL),
    (307, K.STOP_CHANNEL),
    (308, K.STOP_CHANNEL),
    (400, K.DROP_MESSAGE),
    (401, K.STOP_CHANNEL),
    (403, K.STOP_CHANNEL),
    (404, K.STOP_CHANNEL),
    (405, K.STOP_CHANNEL),
    (408, K.AMBIGUOUS),  # retry, but ambiguous when the body was sent: it always was
    (410, K.STOP_CHANNEL),
    (413, K.DROP_MESSAGE),
    (418, K.DROP_MESSAGE),
    (425, K.AMBIGUOUS),
    (429, K.RETRY_AFTER),
    (500, K.RETRY),
    (502, K.RETRY),
    (503, K.RETRY),
    (504, K.RETRY),
    (520, K.RETRY),
]


@pytest.mark.parametrize(("status", "kind"), ROWS)
def test_status(status: int, kind: OutcomeClass) -> None:
    outcome = by_status(status)
    assert (outcome.kind, outcome.code, outcome.may_have_left) == (kind, str(status), True)


def test_429_waits_a_minute_and_slows_the_account() -> None:
    assert (by_status(429).retry_after, by_status(429).scope) == (MINUTE, Scope.ACCOUNT)
    assert by_status(429, named=WAIT).retry_after == WAIT


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_5xx_honours_retry_after(status: int) -> None:
    outcome = by_status(status, named=WAIT)
    assert (outcome.kind, outcome.retry_after, outcome.scope) == (K.RETRY_AFTER, WAIT, Scope.ACCOUNT)


@pytest.mark.parametrize("status", [400, 404, 403, 200, 307])
def test_a_wait_turns_nothing_else_into_a_retry(status: int) -> None:
    assert by_status(status, named=WAIT).kind is by_status(status).kind


def test_an_unknown_code_is_counted() -> None:
    outcome = uncharted(400, "NEW_CODE")
    assert (outcome.kind, outcome.code, outcome.uncharted) == (K.DROP_MESSAGE, "NEW_CODE", True)
    assert by_status(418).uncharted
    assert not by_status(503).uncharted


@pytest.mark.parametrize("failure", list(Failure))
def test_without_an_answer(failure: Failure) -> None:
    unsure, unsent = unanswered(NoAnswer(failure, left=True)), unanswered(NoAnswer(failure, left=False))
    assert (unsure.kind, unsure.may_have_left) == (K.AMBIGUOUS, True)
    assert (unsent.kind, unsent.may_have_left) == (K.RETRY, False)


def test_unsendable_says_why() -> None:
    outcome = unsendable(["too long", "empty"])
    assert (outcome.kind, outcome.detail, outcome.may_have_left) == (K.DROP_MESSAGE, "too long; empty", False)
