"""One account at work: its channel, its connections, its rates, its breaker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from orchestrator import metrics
from orchestrator.channel.base import Channel, Outcome, OutcomeClass
from orchestrator.dispatch.quota import Quota
from orchestrator.dispatch.storm import StormGuard
from orchestrator.ledger.claim import Lane
from orchestrator.limits.breaker import Breaker, BreakerState
from orchestrator.limits.rate import Limiter, Rate

Bucket = tuple[str, Rate]
FAILING = frozenset({OutcomeClass.RETRY, OutcomeClass.AMBIGUOUS})
"""Answers that say the provider is in trouble, as the breaker counts them."""


@dataclass(slots=True)
class Account:
    """An open account of this process. ``in_flight`` never exceeds ``connections``."""

    name: str
    channel: Channel
    rate: Rate
    connections: int
    limiter: Limiter
    breaker: Breaker
    storm: StormGuard
    in_flight: int = field(default=0)
    quota: Quota | None = None
    """How much one address may get a day."""

    def buckets(self, lane: Lane) -> Sequence[Bucket]:
        """What one message of this lane draws from: the account's rate, and the step's own."""
        own = (f"account:{self.name}", self.rate)
        if lane.rate is None:
            return (own,)
        return own, (f"step:{lane.run_id}:{lane.step}", Rate(lane.rate, max(1, int(lane.rate)), self.rate.ramp))

    def room(self, lane: Lane, most: int) -> int:
        """How many messages of this lane could leave right now; one alone while its answer is to close the breaker."""
        free = min(self.connections - self.in_flight, most)
        if free > 0:
            free = min(free, self.limiter.available(self.buckets(lane)))
        if free <= 0:
            return 0  # before the breaker is asked: its probe is not spent on nothing
        probing = self.breaker.state(self.name) is BreakerState.HALF_OPEN
        if not self.breaker.allow(self.name):
            return 0
        return 1 if probing else free

    def count_in_flight(self, change: int) -> None:
        """One request more, or one less."""
        self.in_flight += change
        metrics.in_flight.labels(self.name).set(self.in_flight)

    def heard(self, outcome: Outcome, seconds: float) -> None:
        """Learn from an answer: the breaker counts it, a wait for the whole account slows it."""
        metrics.attempts.labels(self.channel.channel, self.name, outcome.kind).inc()
        metrics.attempt_seconds.labels(self.channel.channel, self.name).observe(seconds)
        metrics.unknown_codes.labels(self.channel.provider).inc(outcome.uncharted)
        self.breaker.record(self.name, failed=outcome.kind in FAILING)
        if outcome.kind is OutcomeClass.RETRY_AFTER and outcome.retry_after is not None and outcome.scope == "account":
            self.limiter.pause(f"account:{self.name}", outcome.retry_after.total_seconds())


def open_account(  # one value each
    name: str,
    channel: Channel,
    *,
    rate: float,
    burst: int,
    ramp: timedelta,
    connections: int,
    limiter: Limiter,
    monotonic: Callable[[], float],
) -> Account:
    """An account ready to send."""
    return Account(
        name,
        channel,
        Rate(rate, burst, ramp),
        connections,
        limiter,
        Breaker(monotonic),
        StormGuard(monotonic),
        quota=getattr(channel, "quota", None),
    )
