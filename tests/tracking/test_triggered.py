"""Members who join one by one: each is asked for from their own anchor, however long the run has been open."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from orchestrator.clock import ManualClock
from orchestrator.store import Store
from orchestrator.store.tables import member, users
from orchestrator.tracking.attribution import attribute
from tests.plan.carts import CART, NOON, WAIT, campaign, happened, launched
from tests.world import person

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def reopened(store: Store) -> set[str]:
    query = select(users.c.external_id).join(member, member.c.user_id == users.c.id)
    with store.read() as connection:
        return set(connection.execute(query.where(member.c.reopened_at.is_not(None))).scalars())


def test_the_last_to_join_is_asked_for_as_the_first(store: Store) -> None:
    """The first joins as the date begins on the first island, the last as it ends on the last one, two days later."""
    clock = ManualClock(NOON - HOUR)  # 00:00 of the 8th at UTC+14
    shop = launched(store, clock, campaign(goal={"event": "app_open", "within": "1h"}), people=0)
    person(store, "first", "Pacific/Kiritimati")
    person(store, "last", "Etc/GMT+12")
    for name, at in (("first", NOON - HOUR), ("last", NOON + 48 * HOUR + 55 * MINUTE)):
        happened(store, name, CART, at - WAIT)
        clock.instant = at
        shop.tick()
        happened(store, name, "app_open", at - MINUTE)  # before the run opened for them: it does not count
        attribute(store, clock.now())
        assert name not in reopened(store)
        happened(store, name, "app_open", at + 30 * MINUTE)
        clock.instant = at + 31 * MINUTE
        attribute(store, clock.now())
        assert name in reopened(store)
    with store.read() as connection:
        assert len(connection.execute(select(member.c.run_id).distinct()).all()) == 1
