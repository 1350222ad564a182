"""What an answer does to its message: the table of what is next, and nothing else."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import NamedTuple, assert_never

from typing_extensions import override

from orchestrator.channel.base import Ambiguity, Outcome, OutcomeClass, Payload, Scope
from orchestrator.channel.transport import Failure
from orchestrator.clock import Clock
from orchestrator.ledger.claim import Claimed
from orchestrator.ledger.recover import MAX_ATTEMPTS
from orchestrator.ledger.settle import Settlement
from orchestrator.ledger.states import State

NOT_BEGUN = "not_begun"
"""The code of a request that was marked, and not made: something had changed since."""
BACKOFF = timedelta(seconds=1)
BACKOFF_CAP = timedelta(hours=1)


class Answer(NamedTuple):
    """One finished attempt: the message, what was answered, when it was begun and ended (business time)."""

    message: Claimed
    account: str
    outcome: Outcome
    started_at: datetime
    ended_at: datetime
    payload: Payload | None = None
    """What was sent: an inbox keeps it."""

    @override
    def __repr__(self) -> str:
        """Without what was sent, so that no log ever shows it."""
        return f"Answer({self.message.id}, {self.outcome.kind})"

    @property
    def n(self) -> int:
        """Which attempt of the message this was, from 1."""
        return self.message.attempts + 1


def backoff(n: int, least: timedelta | None, chance: random.Random) -> timedelta:
    """Full jitter before attempt ``n + 1``: anywhere up to 1 s, 2 s, 4 s … 1 h, never under ``least``."""
    most: timedelta = min(BACKOFF * 2 ** min(n - 1, 12), BACKOFF_CAP)
    floor = least or timedelta(0)
    return floor + most * chance.random()


def settlement(answer: Answer, ambiguity: Ambiguity, clock: Clock, chance: random.Random) -> Settlement:
    """What is to be written for an answer. Consequences for addresses and accounts are not its business."""
    outcome, accepted = answer.outcome, answer.outcome.kind is OutcomeClass.ACCEPTED
    code = _storable(outcome.code)
    base = Settlement(
        id=answer.message.id,
        n=answer.n,
        account=answer.account,
        started_at=answer.started_at,
        ended_at=answer.ended_at,
        outcome=outcome.kind,
        state=State.ACCEPTED if accepted else State.FAILED,
        reason=None if accepted else code or str(outcome.kind),
        code=code,
        provider_id=None if outcome.provider_id is None else _storable(outcome.provider_id),
        detail=_storable(outcome.detail),
    )
    match outcome.kind:
        case OutcomeClass.ACCEPTED | OutcomeClass.DROP_ADDRESS | OutcomeClass.SUPPRESS | OutcomeClass.DROP_MESSAGE:
            return base
        case OutcomeClass.STOP_CHANNEL:
            return _stopped(base, answer)
        case OutcomeClass.RETRY_AFTER if outcome.at_most is None:
            return _again(base, answer, clock.business_span(outcome.retry_after or timedelta(seconds=60)))
        case OutcomeClass.RETRY | OutcomeClass.RETRY_AFTER:  # a wait that is named does not make more retries of it
            return _retry(base, answer, ambiguity, clock, chance)
        case OutcomeClass.AMBIGUOUS:
            return _ambiguous(base, answer, ambiguity, clock, chance)
        case _:
            assert_never(outcome.kind)


def _storable(said: str) -> str:
    """Without NUL, which PostgreSQL takes in no text: one answer keeps no others from being written."""
    return said.replace("\0", "")


def _stopped(base: Settlement, answer: Answer) -> Settlement:
    """It waits for an operator; unless only this kind of target is concerned (FCM's APNs key): then it has failed."""
    if answer.outcome.scope is Scope.ADDRESS:
        return base
    return base._replace(state=State.PLANNED, due_at=answer.ended_at)


def _again(base: Settlement, answer: Answer, wait: timedelta) -> Settlement:
    """Back to the queue, or expired when the deadline comes first."""
    due = answer.ended_at + wait
    if due >= answer.message.deadline:
        return base._replace(state=State.EXPIRED, reason="retry_too_late")
    return base._replace(state=State.PLANNED, due_at=due)


def _retry(base: Settlement, answer: Answer, ambiguity: Ambiguity, clock: Clock, chance: random.Random) -> Settlement:
    outcome = answer.outcome
    most = MAX_ATTEMPTS if outcome.at_most is None else min(MAX_ATTEMPTS, outcome.at_most + 1)
    # What certainly never left is no attempt at the person: a provider that is down for a minute ends nobody's message
    patient = not outcome.may_have_left and outcome.at_most is None and outcome.code != Failure.REQUEST
    doubtful = outcome.at_most is not None and outcome.may_have_left and ambiguity is Ambiguity.HOLD
    if answer.n >= most and not patient:
        return base._replace(state=State.UNKNOWN if doubtful else State.FAILED)
    again = _again(base, answer, clock.business_span(backoff(answer.n, outcome.retry_after, chance)))
    if doubtful and again.state is State.EXPIRED:  # expired would say that it certainly did not leave
        return again._replace(state=State.UNKNOWN, reason=base.reason)
    return again


def _ambiguous(
    base: Settlement, answer: Answer, ambiguity: Ambiguity, clock: Clock, chance: random.Random
) -> Settlement:
    if ambiguity is Ambiguity.HOLD or answer.n >= MAX_ATTEMPTS:
        return base._replace(state=State.UNKNOWN)
    again = _again(base, answer, clock.business_span(backoff(answer.n, answer.outcome.retry_after, chance)))
    return again._replace(state=State.UNKNOWN, reason=base.reason) if again.state is State.EXPIRED else again
