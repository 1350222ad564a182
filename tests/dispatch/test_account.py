"""How many messages may leave through an account at once: connections, rates, the breaker's one probe."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import timedelta

import pytest
from typing_extensions import override

from orchestrator import metrics
from orchestrator.channel.base import Ambiguity, Channel, Envelope, Inquiry, Outcome, OutcomeClass, Payload, Scope
from orchestrator.dispatch.account import Account, Seats, open_account
from orchestrator.ledger.claim import Lane
from orchestrator.ledger.ids import LaneId
from orchestrator.limits.breaker import LAST, OPEN_SECONDS, Breaker, BreakerState
from orchestrator.limits.rate import MemoryLimiter, Rate

LANE = Lane(LaneId(17), 1, 1, "push", "acc", None, 50, "lunch", "v")
SLOW = Lane(LaneId(18), 1, 2, "push", "acc", 2.0, 50, "lunch", "v")


class Hand:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Nowhere:
    """A channel that is never asked."""

    channel, provider, ambiguity, timeout = "push", "none", Ambiguity.RESEND, timedelta(seconds=1)
    kinds = frozenset({"token"})

    async def send(self, envelope: Envelope) -> Outcome:
        raise NotImplementedError

    def problems(self, payload: Payload) -> list[str]:
        raise NotImplementedError

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        raise NotImplementedError

    async def close(self) -> None:
        return None


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def account(hand: Hand) -> Account:
    channel: Channel = Nowhere()
    made = open_account(
        "acc",
        channel,
        rate=100.0,
        burst=20,
        ramp=timedelta(0),
        connections=8,
        limiter=MemoryLimiter(hand),
        monotonic=hand,
    )
    made.room(LANE, 1)  # buckets start empty, at the first look
    hand.now += 1
    return made


def hear(account: Account, kind: OutcomeClass, times: int = 1, **more: object) -> None:
    for _ in range(times):
        account.heard(Outcome(kind, **more), 0.1)  # type: ignore[arg-type]


def test_room_is_the_least_of_connections_rate_and_what_is_asked_for(account: Account) -> None:
    assert account.room(LANE, 200) == 8
    assert account.room(LANE, 3) == 3
    account.count_in_flight(7)
    assert account.room(LANE, 200) == 1
    account.count_in_flight(1)
    assert account.room(LANE, 200) == 0
    account.count_in_flight(-8)
    account.limiter.take(account.buckets(LANE), 15)
    assert account.room(LANE, 200) == 5


def test_connections_that_are_kept_for_one_batch_are_not_there_for_another(account: Account) -> None:
    one, two, three, four = (Seats(account) for _ in range(4))
    assert (one.keep(5), two.keep(5), three.keep(5)) == (5, 3, 0)
    account.count_in_flight(4)
    one.let_go()
    assert four.keep(5) == 1


def test_a_batch_that_was_given_up_keeps_no_connections_afterwards(account: Account) -> None:
    """Its worker was cancelled, and its thread had not begun."""
    seats = Seats(account)
    seats.let_go()
    assert seats.keep(5) == 0
    assert account.kept == 0


def test_a_steps_own_rate_binds_its_lane_alone(account: Account, hand: Hand) -> None:
    account.room(SLOW, 1)
    hand.now += 1
    assert account.room(SLOW, 200) == 2
    account.limiter.take(account.buckets(SLOW), 2)
    assert account.room(SLOW, 200) == 0
    assert account.room(LANE, 200) == 8


def test_a_wait_named_for_the_account_stops_it_all_and_one_for_a_message_does_not(account: Account, hand: Hand) -> None:
    hear(account, OutcomeClass.RETRY_AFTER, retry_after=timedelta(seconds=30), scope=Scope.MESSAGE)
    assert account.room(LANE, 200) == 8
    hear(account, OutcomeClass.RETRY_AFTER, retry_after=timedelta(seconds=30), scope=Scope.ACCOUNT)
    hand.now += 29.9
    assert account.room(LANE, 200) == 0
    hand.now += 1
    assert account.room(LANE, 200) > 0


@pytest.mark.parametrize("kind", [OutcomeClass.RETRY, OutcomeClass.AMBIGUOUS])
def test_a_failing_provider_is_left_alone_and_then_asked_with_one(
    account: Account, hand: Hand, kind: OutcomeClass
) -> None:
    hear(account, kind, LAST)
    assert account.room(LANE, 200) == 0
    hand.now += OPEN_SECONDS
    assert account.room(LANE, 200) == 1  # not eight at once
    assert account.room(LANE, 200) == 0
    hear(account, OutcomeClass.ACCEPTED)
    assert account.room(LANE, 200) == 8


def test_after_a_storm_the_rate_climbs_again(account: Account, hand: Hand) -> None:
    """Promises R6: from nothing to the full rate in no less than the ramp."""
    account.rate = Rate(100.0, 20, timedelta(seconds=60))
    keys = account.buckets(LANE)
    account.limiter.available(keys)
    hand.now += 120
    assert account.limiter.take(keys, 20) == 20  # warm
    hear(account, OutcomeClass.RETRY, LAST)
    hand.now += OPEN_SECONDS
    assert account.room(LANE, 200) == 1
    hear(account, OutcomeClass.ACCEPTED)
    assert account.limiter.available(keys) == 0
    hand.now += 1
    assert 9 <= account.limiter.available(keys) <= 12, "a tenth of 100/s"


def test_the_probe_is_not_spent_while_nothing_could_leave(account: Account, hand: Hand) -> None:
    hear(account, OutcomeClass.RETRY, LAST)
    hand.now += OPEN_SECONDS
    account.limiter.take(account.buckets(LANE), 20)
    assert account.room(LANE, 200) == 0
    assert account.breaker.state("acc") is BreakerState.HALF_OPEN
    hand.now += 1
    assert account.room(LANE, 200) == 1


def test_refusals_and_waits_are_no_trouble_at_the_provider(account: Account) -> None:
    for kind in (OutcomeClass.DROP_ADDRESS, OutcomeClass.SUPPRESS, OutcomeClass.DROP_MESSAGE, OutcomeClass.RETRY_AFTER):
        hear(account, kind, LAST)
    assert account.room(LANE, 200) == 8


def test_a_provider_that_names_a_lower_rate_is_heeded(account: Account, hand: Hand) -> None:
    """SES: MaxSendRate, which an operator's ``rate`` does not lift."""
    for most, taken in ((None, 8), (500.0, 8), (2.0, 2), (0.5, 1)):
        account.channel.most_per_second = most  # type: ignore[attr-defined]
        account.limiter.take(account.buckets(LANE), 100)
        hand.now += 60
        assert account.room(LANE, 100) == taken


class Raced(deque[tuple[OutcomeClass, float, bool]]):
    """What was heard, and another thread that comes to count it after the first has looked how much there is."""

    another: Callable[[], None] | None = None

    @override
    def __len__(self) -> int:
        found, another, self.another = super().__len__(), self.another, None
        if another is not None:
            another()
        return found


def test_what_two_workers_count_at_once_is_counted_once(account: Account) -> None:
    counted = metrics.attempts.labels("push", "acc", OutcomeClass.ACCEPTED)._value
    before = counted.get()
    account._untold = heard = Raced()
    for _ in range(3):
        account.heard(Outcome(OutcomeClass.ACCEPTED), 0.1)
    heard.another = account.tell
    account.tell()
    assert counted.get() == before + 3


def test_a_breaker_that_is_half_open_only_when_it_is_asked_lets_one_through(account: Account, hand: Hand) -> None:
    """Its thirty seconds may end between two questions."""

    class Passing(Hand):
        @override
        def __call__(self) -> float:
            self.now += 0.01
            return self.now

    account.limiter.available(account.buckets(LANE))
    hand.now += 60
    passing = Passing()
    passing.now = hand.now
    account.breaker = Breaker(passing)
    for _ in range(LAST):
        account.breaker.record("acc", failed=True)
    passing.now += OPEN_SECONDS - 0.015
    assert account.room(LANE, 5) == 1
