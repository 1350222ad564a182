"""A rehearsal of runs relative to a date of each user's own: a week in which everybody has at most one."""

from __future__ import annotations

from datetime import date, timedelta

from sqlalchemy import update

from orchestrator.rehearsal.rehearse import rehearse
from orchestrator.store import Store
from orchestrator.store.tables import users
from tests import world
from tests.rehearsal.theatre import order

PEOPLE = 40
PUSH = world.DEFINITION["steps"][:1]


def test_birthdays_of_a_week(store: Store) -> None:
    for n in range(PEOPLE):
        user = world.person(store, f"u{n}")
        with store.write() as connection:
            birthday = (date(1990, 12, 1) + timedelta(days=n)).isoformat()
            connection.execute(update(users).where(users.c.id == user).values(attributes={"birthday": birthday}))
    what = {"attribute": "birthday", "yearly": True, "offset": "-3d"}
    asked = order(world.bundle({"schedule": {"days": "every", "relative_to": what}, "steps": PUSH}))
    found = rehearse(store, asked, world.OPENING)
    opened = {run.local_date: run.audience for run in found.runs}
    assert opened["2026-12-06"] == 1  # of the 9th
    assert set(opened.values()) == {1}
    assert found.sent == len(opened) - 2  # the last two are planned, and their windows come later


def test_last_orders_from_before_are_known_to_it(store: Store) -> None:
    for n in range(PEOPLE):
        world.person(store, f"u{n}")
        world.did(store, f"u{n}", "order_paid", world.OPENING - timedelta(days=200 + n % 10))
    what = {"event": "order_paid", "offset": "204d"}
    asked = order(world.bundle({"schedule": {"days": "every", "relative_to": what}, "steps": PUSH}))
    found = rehearse(store, asked, world.OPENING)
    assert sum(run.audience for run in found.runs) == PEOPLE / 10 * 5  # 200 to 204 days ago, today and later
