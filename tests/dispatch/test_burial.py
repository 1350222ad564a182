"""Addresses called dead: ended one by one, set aside in a storm, left alone if registered since (R16)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import insert, select, update
from typing_extensions import override

from orchestrator.dispatch.baseline import dead_share
from orchestrator.dispatch.burial import QUARANTINE, bury
from orchestrator.dispatch.storm import NONE_OF, StormGuard
from orchestrator.store import Store
from orchestrator.store.tables import address, alert, attempt, message
from tests.tracking.world import NOW, World

USERS = 400


@pytest.fixture
def world(store: Store) -> World:
    made = World(store)
    made.user(1)
    rows = [
        {"id": n, "user_id": n, "channel": "push", "kind": "token", "value": f"token-{n}"} for n in range(1, USERS + 1)
    ]
    with store.write() as connection:
        connection.execute(insert(address).values(last_seen_at=NOW - timedelta(days=9), valid_from=NOW), rows)
    return made


class Hand:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def ended(world: World) -> int:
    with world.store.read() as connection:
        return len(connection.execute(select(address.c.id).where(address.c.end_reason == "dead")).all())


def set_aside(world: World) -> int:
    held = address.c.quarantined_until == NOW + QUARANTINE, address.c.valid_until.is_(None)
    with world.store.read() as connection:
        return len(connection.execute(select(address.c.id).where(*held)).all())


def answers(world: World, guard: StormGuard, hand: Hand, dead: list[bool], apart: float) -> None:
    """What a provider says of the addresses, one after the other."""
    for number, gone in enumerate(dead, 1):
        hand.now += apart
        guard.record(number, dead=gone, accepted=not gone)
        if gone:
            with world.store.write() as connection:
                bury(connection, "fcm", guard, number, NOW, "UNREGISTERED")


def test_a_provider_that_calls_everybody_dead_for_five_minutes_ends_nobody(world: World) -> None:
    hand = Hand()
    answers(world, StormGuard(hand), hand, [True] * USERS, 300 / USERS)
    assert (ended(world), set_aside(world)) == (0, USERS)
    with world.store.read() as connection:
        assert connection.execute(select(alert.c.kind)).scalars().all() == ["storm"]


def test_a_storm_whose_transaction_is_lost_sets_everybody_aside_the_next_time(world: World) -> None:
    hand = Hand()
    guard = StormGuard(hand)
    answers(world, guard, hand, [True] * (NONE_OF - 1), 1)
    assert ended(world) > 0  # before anybody could know that it is a storm
    guard.record(NONE_OF, dead=True, accepted=False)

    def told(then: Exception | None) -> None:
        with world.store.write() as connection:
            bury(connection, "fcm", guard, NONE_OF, NOW, "UNREGISTERED")
            if then is not None:
                raise then

    with pytest.raises(ConnectionError):
        told(ConnectionError())
    told(None)
    assert (ended(world), set_aside(world)) == (0, NONE_OF)


class Trusting(StormGuard):
    """The deliberately broken variant: it believes every word."""

    @override
    def storming(self) -> bool:
        return False


def test_without_the_guard_they_would_all_be_gone(world: World) -> None:
    hand = Hand()
    answers(world, Trusting(hand), hand, [True] * USERS, 300 / USERS)
    assert ended(world) == USERS


def test_one_percent_that_is_genuinely_dead_over_a_day_all_end(world: World) -> None:
    hand = Hand()
    answers(world, StormGuard(hand), hand, [number % 100 == 0 for number in range(1, USERS + 1)], 86_400 / USERS)
    assert (ended(world), set_aside(world)) == (USERS // 100, 0)


@pytest.mark.parametrize(("days", "gone"), [(10, 0), (9, 0), (8, 1), (0, 1)])
def test_what_was_registered_after_the_provider_learnt_it_is_alive(world: World, days: int, gone: int) -> None:
    """An address was last registered nine days ago; APNs says since when a token is dead."""
    guard = StormGuard(Hand())
    with world.store.write() as connection:
        bury(connection, "apns", guard, 7, NOW, "Unregistered", dead_since=NOW - timedelta(days=days))
    assert ended(world) == gone


def test_in_a_storm_too_it_is_not_even_set_aside(world: World) -> None:
    guard = StormGuard(Hand())
    for number in range(1, 21):
        guard.record(number, dead=True, accepted=False)
    with world.store.write() as connection:
        bury(connection, "apns", guard, 20, NOW, "Unregistered", dead_since=NOW - timedelta(days=30))
    assert set_aside(world) == 0


# --- what is usual ---------------------------------------------------------------------------------------------------


def sent(world: World, run: int, count: int, dead: int, ago: timedelta) -> None:
    world.run(run)
    first = world.message(run, 1, account="fcm")
    rows = [
        {"id": run << 40 | n << 4 | 1, "run_id": run, "user_id": n, "step": 1, "lane_id": run << 4 | 1, "address_id": n}
        for n in range(2, count + 1)
    ]
    told = [{"message_id": run << 40 | n << 4 | 1} for n in range(1, dead + 1)]
    given = {"arm": "all", "held_out": False, "state": "accepted", "due_at": NOW, "deadline": NOW, "state_at": NOW}
    said = {"n": 1, "worker_id": 1, "account": "fcm", "outcome": "drop_address", "code": "UNREGISTERED"}
    with world.store.write() as connection:
        connection.execute(insert(message).values(sent_at=NOW - ago, **given), rows)
        connection.execute(update(message).where(message.c.id == first).values(sent_at=NOW - ago))
        if told:
            connection.execute(insert(attempt).values(started_at=NOW - ago, **said), told)


def share(world: World, account: str = "fcm") -> float | None:
    world.user(2_000)
    with world.store.read() as connection:
        return dead_share(connection, account, NOW)


def test_the_share_of_the_last_seven_days(world: World) -> None:
    sent(world, 1, 1_500, 15, timedelta(days=3))
    assert share(world) == pytest.approx(0.01)
    assert share(world, "other") is None


@pytest.mark.parametrize("ago", [timedelta(days=8), timedelta(minutes=9)])
def test_neither_long_ago_nor_this_very_moment_is_usual(world: World, ago: timedelta) -> None:
    sent(world, 1, 1_500, 15, ago)
    assert share(world) is None


def test_a_few_messages_say_nothing_of_what_is_usual(world: World) -> None:
    sent(world, 1, 900, 9, timedelta(days=1))
    assert share(world) is None


def test_five_times_the_usual_is_held_back_though_it_is_less_than_five_percent(world: World) -> None:
    sent(world, 1, 1_500, 3, timedelta(days=2))  # 0.2 %
    world.user(2_000)
    hand = Hand()
    answers(world, StormGuard(hand), hand, [number % 25 == 0 for number in range(1, USERS + 1)], 0.1)  # 4 %
    assert ended(world) == 0
    assert set_aside(world) == USERS // 25
