"""Triggered campaigns: who joins, by what, and who does not."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, text

from orchestrator.audience import people
from orchestrator.clock import ManualClock
from orchestrator.ledger.states import RunState
from orchestrator.store import Store
from orchestrator.store.tables import enrolled, event
from tests.plan.carts import CART, NOON, ORDER, WAIT, campaign, due, happened, joined, launched, waiting

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
TODAY = "2026-12-07"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


def test_a_cart_left_behind_is_spoken_of_45_minutes_later(store: Store, clock: ManualClock) -> None:
    shop = launched(store, clock)
    happened(store, "u0", CART, NOON)
    clock.advance(WAIT - MINUTE)
    assert shop.tick() == []
    assert waiting(store) == {"u0"}
    clock.advance(MINUTE)
    [found] = shop.tick()
    assert (found.run.state, found.run.audience) == (RunState.ACTIVE, 1)
    assert joined(store) == {"u0": [(TODAY, None)]}
    assert due(store) == {"u0": NOON + WAIT}
    assert waiting(store) == set()
    with store.read() as connection:
        named = select(event.c.name).join(enrolled, enrolled.c.event_id == event.c.id)
        assert connection.execute(named).scalars().all() == [CART]


def test_the_latest_event_counts(store: Store, clock: ManualClock) -> None:
    shop = launched(store, clock)
    happened(store, "u0", CART, NOON)
    happened(store, "u0", CART, NOON + 30 * MINUTE)
    happened(store, "u0", CART, NOON + 10 * MINUTE, received=NOON + 31 * MINUTE)  # tells of it late
    clock.advance(WAIT)
    assert shop.tick() == []
    clock.advance(30 * MINUTE)
    shop.tick()
    assert due(store) == {"u0": NOON + 30 * MINUTE + WAIT}


def test_an_order_makes_it_needless(store: Store, clock: ManualClock) -> None:
    shop = launched(store, clock)
    happened(store, "u0", ORDER, NOON - MINUTE)  # before the cart: no matter
    for name in ("u0", "u1", "u2"):
        happened(store, name, CART, NOON)
    happened(store, "u1", ORDER, NOON + 44 * MINUTE)
    clock.advance(WAIT)
    shop.tick()
    assert set(joined(store)) == {"u0", "u2"}
    clock.advance(MINUTE)
    shop.tick()
    assert waiting(store) == set()


def test_only_the_segment_joins_and_who_is_excluded_has_a_reason(store: Store, clock: ManualClock) -> None:
    audience = {"segment": "everybody", "exclude": ["regulars"]}
    shop = launched(store, clock, campaign(audience=audience))
    with store.write() as connection:
        people.upsert_users(connection, [people.UserRow("u0", "x", "nowhere", "Europe/Berlin", None)], clock.now())
    happened(store, "u1", ORDER, NOON - DAY)
    for name in ("u0", "u1", "u2"):
        happened(store, name, CART, NOON)
    clock.advance(WAIT)
    shop.tick()
    assert joined(store) == {"u1": [(TODAY, "excluded")], "u2": [(TODAY, None)]}


def test_who_was_dropped_does_not_come_in_by_the_same_event_later(store: Store, clock: ManualClock) -> None:
    """Events are read several times: that must not bring back who was not in the segment when their wait was over."""
    shop = launched(store, clock)
    row = people.UserRow("u0", "x", "nowhere", "Europe/Berlin", None)
    with store.write() as connection:
        people.upsert_users(connection, [row], clock.now())
    happened(store, "u0", CART, NOON)
    clock.advance(WAIT)
    shop.tick()
    with store.write() as connection:
        people.upsert_users(connection, [people.UserRow("u0", "x", "en", "Europe/Berlin", None)], clock.now())
    happened(store, "u1", "app_open", clock.now())  # so that there is something to read
    shop.tick()
    assert joined(store) == {}
    with store.write() as connection:  # the naive way: what is dealt with is forgotten at once
        connection.execute(text("DELETE FROM waiting"))
    happened(store, "u1", "app_open", clock.now() + MINUTE)
    shop.tick()
    assert joined(store) == {"u0": [(TODAY, None)]}
