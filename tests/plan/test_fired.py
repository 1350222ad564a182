"""What a trigger would have done: in a dry run, and what becomes of those of the last day."""

from __future__ import annotations

from datetime import timedelta

import pytest

from orchestrator.clock import ManualClock
from orchestrator.ledger.runs import Occasion
from orchestrator.plan.dry import DryRun, dry_run
from orchestrator.plan.fired import fired
from orchestrator.store import Store
from tests import world
from tests.plan.carts import CART, NOON, ORDER, WAIT, campaign, everything, happened

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


def people(store: Store, count: int = 6) -> None:
    for n in range(count):
        world.person(store, f"u{n}", push=None if n == 5 else "")


def dry(store: Store, clock: ManualClock, **more: object) -> DryRun:
    with store.read() as connection:
        occasion = Occasion(clock.now().date())
        return dry_run(connection, world.planner(clock), campaign(**more), occasion, clock.now())  # type: ignore[arg-type]


def test_it_says_how_often_and_what_would_have_become_of_them(store: Store, clock: ManualClock) -> None:
    people(store)
    for n in (0, 1, 2, 5):
        happened(store, f"u{n}", CART, NOON - 3 * HOUR)
    happened(store, "u1", ORDER, NOON - 3 * HOUR + MINUTE)  # needless
    happened(store, "u2", CART, NOON - 10 * MINUTE)  # its wait is not over: yet the first one's was
    happened(store, "u3", CART, NOON - 4 * DAY)
    happened(store, "u4", CART, NOON - 9 * DAY)
    before = everything(store)
    found = dry(store, clock)
    assert found.triggered is not None
    assert (found.triggered.event, found.triggered.last_day, found.triggered.last_week) == (CART, 3, 4)
    assert found.decisions == {"planned": 2, "skipped: no_address": 1}
    assert found.audience == 3
    assert found.channels == {"push": 2}
    assert found.hours == {10: 2}  # 12:00 in Berlin less three hours, 45 minutes later, to the hour's end
    assert everything(store) == before


def test_nobody_fires_oftener_than_they_may_join(store: Store, clock: ManualClock) -> None:
    people(store)
    for hours in range(1, 60, 5):
        happened(store, "u0", CART, NOON - hours * HOUR)
    for again, count in (("1h", 12), ("24h", 3), ("7d", 1)):
        trigger = campaign({"again_after": again}).campaign.schedule.trigger
        assert trigger is not None
        with store.read() as connection:
            assert len(fired(connection, trigger, NOON - 7 * DAY, NOON)) == count
        happened(store, "u1", "app_open", NOON)


def test_a_cart_that_is_touched_again_fires_once(store: Store, clock: ManualClock) -> None:
    del clock
    people(store)
    for minutes in (0, 20, 60):
        happened(store, "u0", CART, NOON - 5 * HOUR + minutes * MINUTE)
    trigger = campaign({"again_after": "1m"}).campaign.schedule.trigger
    assert trigger is not None
    with store.read() as connection:
        found = fired(connection, trigger, NOON - DAY, NOON)
    assert [due for _, due in found] == [NOON - 5 * HOUR + 60 * MINUTE + WAIT]


def test_a_brake_and_a_past_without_events(store: Store, clock: ManualClock) -> None:
    people(store)
    assert (dry(store, clock).audience, dry(store, clock).stopped) == (0, None)
    for n in range(3):
        happened(store, f"u{n}", CART, NOON - 2 * HOUR)
    assert dry(store, clock, max_audience=2).stopped == "max_audience"
