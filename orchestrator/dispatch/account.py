"""One account at work: its channel, its connections, its rates, its breaker."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Lock

from orchestrator import metrics
from orchestrator.channel.base import Channel, Outcome, OutcomeClass
from orchestrator.dispatch.domains import Domains
from orchestrator.dispatch.quota import Quota
from orchestrator.dispatch.rest import Rests
from orchestrator.dispatch.storm import StormGuard
from orchestrator.dispatch.warm_up import WarmUp
from orchestrator.ledger.claim import Lane
from orchestrator.limits.breaker import Breaker, BreakerState, Probes
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
    kept: int = field(default=0)
    """Connections that are kept for batches on their way to the threshold."""
    quota: Quota | None = None
    """How much one address may get a day."""
    domains: Domains | None = None
    """Destination domains with rates of their own."""
    warm_up: WarmUp | None = None
    """How much may leave a day while the account is new."""
    rests: Rests = field(default_factory=Rests)
    """When it is left alone, for more room to come together. The event loop's."""
    turn: Lock = field(default_factory=Lock)
    """Held while connections are kept or let go."""
    _untold: deque[tuple[OutcomeClass, float, bool]] = field(default_factory=deque)
    """Answers that no metric has counted yet: class, seconds, whether a default rule classified it."""

    def buckets(self, lane: Lane) -> Sequence[Bucket]:
        """What one message of this lane draws from: the account's rate, the campaign's and the step's own."""
        found = [(f"account:{self.name}", self._own_rate())]
        if lane.campaign_rate is not None:
            found.append((f"campaign:{lane.campaign}", self._within(lane.campaign_rate)))
        if lane.rate is not None:
            found.append((f"step:{lane.run_id}:{lane.step}", self._within(lane.rate)))
        return found

    def _own_rate(self) -> Rate:
        """The account's rate; where its provider names a lower one (SES's MaxSendRate), that."""
        most: float | None = getattr(self.channel, "most_per_second", None)
        if most is None or most >= self.rate.per_second:
            return self.rate
        return Rate(most, max(1, min(self.rate.burst, int(most))), self.rate.ramp)

    def _within(self, per_second: float) -> Rate:
        return Rate(per_second, max(1, int(per_second)), self.rate.ramp)

    def room(self, lane: Lane, most: int) -> int:
        """How many messages of this lane could leave right now; one alone while its answer is to close the breaker."""
        free = min(self.connections - self.in_flight, most)
        if free > 0:
            free = min(free, self.limiter.available(self.buckets(lane)))
        if free <= 0:
            return 0  # before the breaker is asked: its probe is not spent on nothing
        probing = self.breaker.state(self.name) is not BreakerState.CLOSED  # it may be half open by when it is asked
        if not self.breaker.allow(self.name):
            return 0
        return 1 if probing else free

    def free(self) -> int:
        """Connections that are neither used nor kept."""
        return self.connections - self.in_flight - self.kept

    def took(self, lane: Lane, room: int, kept: int, began: float) -> None:
        """A batch took all the ``room`` it found as it ``began``, of so many connections ``kept``: is there little?"""
        self.rests.begin(lane, room, kept, self.connections, self._own_rate(), began)

    def count_in_flight(self, change: int) -> None:
        """One request more, or one less."""
        self.in_flight += change
        metrics.in_flight.labels(self.name).set(self.in_flight)

    def heard(self, outcome: Outcome, seconds: float) -> None:
        """Learn from an answer: the breaker counts it, a wait for the whole account slows it.

        A provider that was down is not met with the full rate at once: when its breaker closes, its ramp begins again.
        """
        self._untold.append((outcome.kind, seconds, outcome.uncharted))
        if self.breaker.record(self.name, failed=outcome.kind in FAILING):
            self.limiter.ease(f"account:{self.name}")
        if outcome.kind is OutcomeClass.RETRY_AFTER and outcome.retry_after is not None and outcome.scope == "account":
            self.limiter.pause(f"account:{self.name}", outcome.retry_after.total_seconds())

    def tell(self) -> None:
        """Count what was heard since the last time: many answers at once cost little more than one. Thread-safe."""
        told = list[tuple[OutcomeClass, float, bool]]()
        with suppress(IndexError):  # another thread is at them, too
            for _ in range(len(self._untold)):
                told.append(self._untold.popleft())
        for kind, count in Counter(kind for kind, _, _ in told).items():
            metrics.attempts.labels(self.channel.channel, self.name, kind).inc(count)
        metrics.attempt_seconds.labels(self.channel.channel, self.name).observe_all([each for _, each, _ in told])
        metrics.unknown_codes.labels(self.channel.provider).inc(sum(uncharted for _, _, uncharted in told))
        metrics.in_flight.labels(self.name).set(self.in_flight)


@dataclass(slots=True)
class Seats:
    """The connections that are kept for one batch: from before its claim until its messages are in flight. Thread-safe.

    Several batches of an account are on their way at once, and together they never have more than it has.
    """

    account: Account
    kept: int = 0
    _closed: bool = False

    def keep(self, most: int) -> int:
        """Keep up to ``most`` of those that are free, and say how many."""
        with self.account.turn:
            if not self._closed:
                self.kept = max(min(self.account.free(), most), 0)
                self.account.kept += self.kept
        return self.kept

    def let_go(self) -> None:
        """They are in flight, or not needed; whoever keeps any after this has none."""
        with self.account.turn:
            self.account.kept -= self.kept
            self.kept, self._closed = 0, True


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


def restrain(
    account: Account,
    domains: Mapping[str, float],
    warm_up: Sequence[int],
    monotonic: Callable[[], float],
    probes: Probes | None = None,
) -> Account:
    """The account, with rates of single destination domains, a warm-up, and shared probes, where there are any."""
    if probes is not None:
        account.breaker = Breaker(monotonic, probes)
    if domains:
        rates = {domain.lower(): rate for domain, rate in domains.items()}
        account.domains = Domains(account.name, rates, account.rate.ramp, account.limiter, monotonic)
    if warm_up:
        account.warm_up = WarmUp(account.name, tuple(warm_up))
    return account
