"""Why a run is a user's own, and why none is: in words, where a schedule goes by a date of each user's own."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from orchestrator.clock import ManualClock
from orchestrator.report.codes import Phrase
from orchestrator.report.explain import explain
from orchestrator.report.launched import launched
from orchestrator.report.own_dates import offset_words
from orchestrator.report.telling import tell
from orchestrator.report.values import plain
from orchestrator.store import Store
from orchestrator.store.tables import users
from tests import world

BIRTHDAY = {"attribute": "birthday", "yearly": True, "offset": "-3d"}
ORDER = {"event": "order_paid", "offset": "14d"}
ORDERED = world.MONDAY - timedelta(days=14) + timedelta(hours=9, minutes=5)


def planned(store: Store, what: dict[str, Any]) -> ManualClock:
    clock = ManualClock(world.OPENING)
    schedule = {"days": "every", "from": "2026-12-07", "until": "2026-12-07", "relative_to": what}
    world.plan(store, world.bundle({"schedule": schedule}), clock)
    return clock


def told(store: Store, name: str, now: datetime, locale: str = "en") -> str:
    with store.read() as connection:
        story = explain(connection, name, launched(connection, "lunch"), now)
        assert json.dumps(plain(story))
        return "\n".join(tell(story, locale))


def born(store: Store, name: str, birthday: str | None) -> None:
    user = world.person(store, name)
    with store.write() as connection:
        held = {"attributes": {"birthday": birthday}} if birthday else {"attributes": {}}
        connection.execute(update(users).where(users.c.id == user).values(held))


def test_a_member_hears_which_date_it_was(store: Store) -> None:
    born(store, "ada", "1990-12-10")
    now = planned(store, BIRTHDAY).now()
    assert "\nTheir birthday is 12-10; this run is 3 days before it.\n" in told(store, "ada", now)
    assert "\n个人日期：birthday 为 12-10；本批次在其前 3 天。\n" in told(store, "ada", now, "zh")
    assert "1990" not in told(store, "ada", now)


def test_what_it_was_then_is_told_whatever_it_is_now(store: Store) -> None:
    born(store, "ada", "1990-12-10")
    now = planned(store, BIRTHDAY).now()
    with store.write() as connection:
        connection.execute(update(users).values(attributes={"birthday": "1990-05-05"}))
    assert "birthday is 12-10" in told(store, "ada", now)


def test_a_member_hears_of_the_last_event(store: Store) -> None:
    world.person(store, "ada")
    world.did(store, "ada", "order_paid", ORDERED)
    now = planned(store, ORDER).now()
    expected = "Their last order_paid was on Mon 23 Nov 10:05:00; this run is 14 days after it."
    assert expected in told(store, "ada", now)
    assert "最近一次 order_paid 于 11月23日周一 10:05:00；本批次在其后 14 天" in told(store, "ada", now, "zh")


def test_who_is_no_member_hears_their_date(store: Store) -> None:
    born(store, "ada", "1990-12-10")
    born(store, "bob", "1990-05-05")
    born(store, "eve", None)
    now = planned(store, BIRTHDAY).now()
    only = "Its runs are each for those whose own date it is, 3 days before: "
    assert f"{only}their birthday is 05-05." in told(store, "bob", now)
    assert f"{only}they have no birthday with a date." in told(store, "eve", now)
    assert "其 birthday 为 05-05" in told(store, "bob", now, "zh")
    assert "没有可用的 birthday 日期" in told(store, "eve", now, "zh")


def test_who_is_no_member_hears_of_their_last_event(store: Store) -> None:
    world.person(store, "ada")
    world.did(store, "ada", "order_paid", ORDERED + timedelta(days=1))
    now = planned(store, ORDER).now()
    expected = "their last order_paid was on 2026-11-24 09:05 UTC, which is for the run of 2026-12-08."
    assert expected in told(store, "ada", now)
    assert "对应 2026-12-08 的批次" in told(store, "ada", now, "zh")


@pytest.mark.parametrize(
    ("days", "en", "zh"),
    [
        (0, "on that very day", "当天"),
        (1, "1 day after", "其后 1 天"),
        (-1, "1 day before", "其前 1 天"),
        (-3, "3 days before", "其前 3 天"),
    ],
)
def test_how_far_away(days: int, en: str, zh: str) -> None:
    assert offset_words(timedelta(days=days)) == Phrase(en, zh)
