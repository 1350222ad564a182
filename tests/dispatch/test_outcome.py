"""What is next after every class of answer, for channels that resend and channels that hold, at every attempt."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.channel.base import Ambiguity, Outcome, OutcomeClass, Scope
from orchestrator.clock import AcceleratedClock, ManualClock
from orchestrator.dispatch.outcome import BACKOFF_CAP, Answer, backoff, settlement
from orchestrator.ledger.claim import Claimed
from orchestrator.ledger.ids import MessageId
from orchestrator.ledger.recover import MAX_ATTEMPTS
from orchestrator.ledger.settle import Settlement
from orchestrator.ledger.states import TRANSITIONS, State

NOW = datetime(2026, 12, 7, 10, tzinfo=UTC)
CLOCK = ManualClock(NOW)
HOUR = timedelta(hours=1)
PUSH, SMS = Ambiguity.RESEND, Ambiguity.HOLD
ALL = range(1, MAX_ATTEMPTS + 2)
LAST = range(MAX_ATTEMPTS, MAX_ATTEMPTS + 2)


def settled(
    outcome: Outcome, ambiguity: Ambiguity, n: int = 1, *, deadline: datetime = NOW + 2 * HOUR, clock: Any = CLOCK
) -> Settlement:
    message = Claimed(MessageId(1), 1, 2, 1, 3, "all", False, NOW, deadline, n - 1)
    return settlement(Answer(message, "a", outcome, NOW, NOW), ambiguity, clock, random.Random(1))


@pytest.mark.parametrize("ambiguity", [PUSH, SMS])
@pytest.mark.parametrize(
    ("kind", "attempts", "state"),
    [
        (OutcomeClass.ACCEPTED, ALL, State.ACCEPTED),
        (OutcomeClass.DROP_ADDRESS, ALL, State.FAILED),
        (OutcomeClass.SUPPRESS, ALL, State.FAILED),
        (OutcomeClass.DROP_MESSAGE, ALL, State.FAILED),
        (OutcomeClass.STOP_CHANNEL, ALL, State.PLANNED),
        (OutcomeClass.RETRY_AFTER, ALL, State.PLANNED),
        (OutcomeClass.RETRY, range(1, MAX_ATTEMPTS), State.PLANNED),
        (OutcomeClass.RETRY, LAST, State.FAILED),
    ],
)
def test_an_answer_that_is_clear_means_the_same_on_every_channel(
    ambiguity: Ambiguity, kind: OutcomeClass, attempts: range, state: State
) -> None:
    for n in attempts:
        made = settled(Outcome(kind, "CODE"), ambiguity, n)
        assert (made.state, made.n) == (state, n)
        assert (made.due_at is not None) == (state is State.PLANNED)
        assert made.reason == (None if state is State.ACCEPTED else "CODE")


@pytest.mark.parametrize(
    ("ambiguity", "attempts", "state"),
    [(PUSH, range(1, MAX_ATTEMPTS), State.PLANNED), (PUSH, LAST, State.UNKNOWN), (SMS, ALL, State.UNKNOWN)],
)
def test_doubt_is_resent_only_where_a_copy_replaces_itself(ambiguity: Ambiguity, attempts: range, state: State) -> None:
    assert {settled(Outcome(OutcomeClass.AMBIGUOUS), ambiguity, n).state for n in attempts} == {state}


@pytest.mark.parametrize("kind", list(OutcomeClass))
@pytest.mark.parametrize("ambiguity", [PUSH, SMS])
@pytest.mark.parametrize("n", ALL)
def test_every_answer_moves_as_the_states_allow(kind: OutcomeClass, ambiguity: Ambiguity, n: int) -> None:
    for deadline in (NOW + HOUR, NOW):
        made = settled(Outcome(kind), ambiguity, n, deadline=deadline)
        assert (State.SENDING, made.state) in TRANSITIONS
        assert made.reason or made.state is State.ACCEPTED


@pytest.mark.parametrize(
    ("outcome", "ambiguity", "state"),
    [
        (Outcome(OutcomeClass.RETRY), PUSH, State.EXPIRED),
        (Outcome(OutcomeClass.RETRY_AFTER, retry_after=HOUR), SMS, State.EXPIRED),
        (Outcome(OutcomeClass.AMBIGUOUS), PUSH, State.UNKNOWN),  # expired would say that it never left
        (Outcome(OutcomeClass.RETRY, at_most=1), SMS, State.UNKNOWN),
        (Outcome(OutcomeClass.RETRY, at_most=1, may_have_left=False), SMS, State.EXPIRED),
        (Outcome(OutcomeClass.RETRY, at_most=1), PUSH, State.EXPIRED),
    ],
)
def test_no_time_left_to_try_again(outcome: Outcome, ambiguity: Ambiguity, state: State) -> None:
    assert settled(outcome, ambiguity, deadline=NOW).state is state


@pytest.mark.parametrize(
    ("ambiguity", "may_have_left", "last"),
    [(SMS, True, State.UNKNOWN), (SMS, False, State.FAILED), (PUSH, True, State.FAILED)],
)
def test_an_answer_may_allow_fewer_retries(ambiguity: Ambiguity, may_have_left: bool, last: State) -> None:
    outcome = Outcome(OutcomeClass.RETRY, "20500", at_most=1, may_have_left=may_have_left)
    assert [settled(outcome, ambiguity, n).state for n in (1, 2, 3)] == [State.PLANNED, last, last]


@pytest.mark.parametrize("ambiguity", [PUSH, SMS])
def test_what_never_left_is_tried_until_its_deadline(ambiguity: Ambiguity) -> None:
    """A mail server restarts for half a minute: five refused connections within 15 s fail nobody's message."""
    refused = Outcome(OutcomeClass.RETRY, "connect", may_have_left=False)
    assert {settled(refused, ambiguity, n).state for n in range(1, 40)} == {State.PLANNED}
    assert settled(refused, ambiguity, 30, deadline=NOW).state is State.EXPIRED
    unbuilt = Outcome(OutcomeClass.RETRY, "bad_request", may_have_left=False)  # the next try would be the same
    assert settled(unbuilt, ambiguity, MAX_ATTEMPTS).state is State.FAILED


def test_a_stop_that_concerns_one_kind_of_address_fails_the_message() -> None:
    assert settled(Outcome(OutcomeClass.STOP_CHANNEL, scope=Scope.ADDRESS), PUSH).state is State.FAILED


def test_a_wait_that_was_named_is_kept_and_one_that_was_not_is_a_minute() -> None:
    assert settled(Outcome(OutcomeClass.RETRY_AFTER, retry_after=HOUR), PUSH).due_at == NOW + HOUR
    assert settled(Outcome(OutcomeClass.RETRY_AFTER), PUSH).due_at == NOW + timedelta(minutes=1)


def test_waits_are_machine_time_on_an_accelerated_clock() -> None:
    fast = AcceleratedClock(NOW, 60.0, NOW)
    made = settled(Outcome(OutcomeClass.RETRY_AFTER, retry_after=timedelta(seconds=30)), PUSH, clock=fast)
    assert made.due_at == NOW + timedelta(minutes=30)


@given(n=st.integers(1, 40), seed=st.integers(), least=st.none() | st.timedeltas(timedelta(0), 24 * HOUR))
def test_backoff_lies_between_what_was_asked_for_and_its_cap(n: int, seed: int, least: timedelta | None) -> None:
    wait = backoff(n, least, random.Random(seed))
    most = min(timedelta(seconds=2 ** (n - 1)), BACKOFF_CAP)
    assert (least or timedelta(0)) <= wait <= (least or timedelta(0)) + most


def test_backoff_spreads_over_all_of_its_span() -> None:
    chance = random.Random(7)
    waits = [backoff(6, None, chance).total_seconds() for _ in range(500)]
    assert min(waits) < 2
    assert max(waits) > 30


@pytest.mark.parametrize("kind", [OutcomeClass.RETRY, OutcomeClass.RETRY_AFTER])
def test_an_answer_retried_once_is_retried_once_whether_a_wait_was_named_or_not(kind: OutcomeClass) -> None:
    outcome = Outcome(kind, "20500", retry_after=timedelta(seconds=30), at_most=1)
    again = settled(outcome, SMS, 1)
    assert again.state is State.PLANNED
    assert again.due_at is not None
    assert again.due_at >= NOW + timedelta(seconds=30)
    assert settled(outcome, SMS, 2).state is State.UNKNOWN
    assert settled(outcome, PUSH, 2).state is State.FAILED
