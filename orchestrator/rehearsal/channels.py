"""In-process channels: they check a message as the real ones do, and answer by the response model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from typing_extensions import override

from orchestrator.channel.base import (
    ANY_KIND,
    Ambiguity,
    Channel,
    Envelope,
    Inquiry,
    Outcome,
    OutcomeClass,
    Payload,
)
from orchestrator.dispatch.account import Account, Bucket, restrain
from orchestrator.dispatch.quota import Quota
from orchestrator.dispatch.storm import StormGuard
from orchestrator.ledger.claim import Lane
from orchestrator.limits.breaker import Breaker
from orchestrator.limits.rate import Limiter, MemoryLimiter, Rate
from orchestrator.rehearsal.clock import EventClock
from orchestrator.rehearsal.responses import Responses

DEAD, FAILED = "address_dead", "400"
AT_ONCE = 500
"""Messages of a batch. Answers come at once, so connections never run out."""
_LOT, _LONGEST = 500, 12.0
"""A slow account waits until a lot of tokens is there, at most so many seconds: instants are blurred by no more."""


@dataclass(frozen=True, slots=True)
class Terms:
    """An account as the rehearsal needs it. ``checks`` is its real channel, which is never sent through."""

    name: str
    channel: str
    provider: str
    rate: Rate
    checks: Channel | None = None
    domains: Mapping[str, float] = field(default_factory=dict)
    warm_up: Sequence[int] = ()


class RehearsedChannel:
    """Accepts, refuses or finds dead as the responses say; the same message always gets the same answer."""

    def __init__(self, terms: Terms, responses: Responses) -> None:
        self.channel, self.provider = terms.channel, terms.provider
        self.kinds = terms.checks.kinds if terms.checks else ANY_KIND
        self.ambiguity = terms.checks.ambiguity if terms.checks else Ambiguity.HOLD
        self.timeout = timedelta(seconds=1)
        self.quota: Quota | None = getattr(terms.checks, "quota", None)
        self._checks, self._responses = terms.checks, responses

    async def send(self, envelope: Envelope) -> Outcome:
        """Answer at once, without a request."""
        return self.answer(envelope.message_id, envelope.address)

    def answer(self, message_id: int | str, address: str) -> Outcome:
        """The same to whom cannot wait."""
        rates = self._responses.of(self.channel)
        if rates.dead and self._responses.draws("address", address)[0] < rates.dead:
            return Outcome(OutcomeClass.DROP_ADDRESS, DEAD)
        if rates.failed and self._responses.draws("failed", message_id)[0] < rates.failed:
            return Outcome(OutcomeClass.DROP_MESSAGE, FAILED)
        return Outcome(OutcomeClass.ACCEPTED, provider_id=f"rehearsed-{message_id}")

    def problems(self, payload: Payload) -> list[str]:
        """What the real channel would object to."""
        return self._checks.problems(payload) if self._checks else []

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        """Every answer was clear."""
        del inquiry
        return None

    async def close(self) -> None:
        """Nothing is open."""


@dataclass(slots=True)
class RehearsedAccount(Account):
    """An account whose bursts are as long as the rehearsal's steps, so that steps may be longer than a poll.

    Of a sample of the users its rates are as much smaller, so that queues are as long as they will be.
    """

    share: float = 1.0

    @override
    def buckets(self, lane: Lane) -> list[Bucket]:
        return [(key, _longer(_part(rate, self.share))) for key, rate in Account.buckets(self, lane)]

    @override
    def heard(self, outcome: Outcome, seconds: float) -> None:
        """A rehearsed answer is nobody's trouble, and no metric's."""

    def answer(self, message_id: int, address: str) -> Outcome:
        """What its channel says to a message at once."""
        assert isinstance(self.channel, RehearsedChannel)
        return self.channel.answer(message_id, address)

    def pace(self, lane: Lane) -> timedelta:
        """How long to wait for the next lot of tokens when there are fewer than are wanted."""
        rates = [_part(rate, self.share) for _, rate in Account.buckets(self, lane)]
        return timedelta(seconds=max(_step(rate) for rate in rates))


def _part(rate: Rate, share: float) -> Rate:
    return rate if share == 1 else replace(rate, per_second=rate.per_second * share)


def _step(rate: Rate) -> float:
    return min(max(_LOT / rate.per_second, 1.0), max(_LONGEST, 1 / rate.per_second))


def _longer(rate: Rate) -> Rate:
    return replace(rate, burst=max(rate.burst, math.ceil(rate.per_second * _step(rate))))


def open_accounts(
    terms: Sequence[Terms], responses: Responses, clock: EventClock, share: float = 1.0
) -> dict[str, RehearsedAccount]:
    """The accounts of a rehearsal, by name."""
    limiter: Limiter = MemoryLimiter(clock.monotonic)
    return {one.name: _open(one, RehearsedChannel(one, responses), limiter, clock, share) for one in terms}


def _open(
    terms: Terms, channel: RehearsedChannel, limiter: Limiter, clock: EventClock, share: float
) -> RehearsedAccount:
    made = RehearsedAccount(
        terms.name,
        channel,
        terms.rate,
        AT_ONCE,
        limiter,
        Breaker(clock.monotonic),
        StormGuard(clock.monotonic),
        quota=channel.quota,
        share=share,
    )
    domains = {domain: rate * share for domain, rate in terms.domains.items()}
    restrain(made, domains, [max(1, round(most * share)) for most in terms.warm_up], clock.monotonic)
    return made
