"""Runs relative to a date of each user's own, whole: who counts beforehand counts whom the planner takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from orchestrator.campaign.version import Bundle
from orchestrator.clock import ManualClock
from orchestrator.ledger.ids import RunId
from orchestrator.ledger.runs import Occasion, Run
from orchestrator.ledger.states import RunState
from orchestrator.plan.brakes import Brake, brake
from orchestrator.plan.dry import dry_run
from orchestrator.plan.dry_dates import OwnDates
from orchestrator.plan.members import members_statement
from orchestrator.policy.caps import UNCAPPED
from orchestrator.report.calendar import calendar
from orchestrator.report.calendar_values import Known, Source
from orchestrator.store import Store
from orchestrator.store.tables import member, users
from tests import world

MONDAY = date(2026, 12, 7)
BIRTHDAY = {"attribute": "birthday", "yearly": True, "offset": "-3d"}
ORDER = {"event": "order_paid", "offset": "5d"}
EVERY: dict[str, Any] = {"days": "every", "from": "2026-12-07", "until": "2026-12-07"}


def relative(what: dict[str, Any], **more: Any) -> Bundle:
    return world.bundle({"schedule": {**EVERY, "relative_to": what}}, **more)


def born(store: Store, name: str, birthday: str | None, zone: str = "Europe/Berlin") -> int:
    user = world.person(store, name, zone)
    with store.write() as connection:
        values = {"attributes": {"birthday": birthday} if birthday else {}}
        connection.execute(update(users).where(users.c.id == user).values(values))
    return user


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(world.OPENING)


def members(store: Store) -> set[int]:
    with store.read() as connection:
        return set(connection.execute(select(member.c.user_id)).scalars())


def test_only_those_whose_day_it_is_are_members(store: Store, clock: ManualClock) -> None:
    due = born(store, "ada", "1990-12-10")
    also = born(store, "bob", "2000-12-10T23:00:00-08:00")
    born(store, "cid", "1990-12-09")
    born(store, "dot", None)
    item = world.plan(store, relative(BIRTHDAY), clock)
    assert members(store) == {due, also}
    assert item.audience == 2


def test_the_last_event_counts_on_its_own_date_in_its_own_zone(store: Store, clock: ManualClock) -> None:
    users_of = {name: world.person(store, name, zone) for name, zone in ORDERS}
    for name, times in PAST.items():
        for at in times:
            world.did(store, name, "order_paid", at)
    world.plan(store, relative(ORDER), clock)
    assert members(store) == {users_of[name] for name in ("shanghai", "vancouver", "somewhere")}


ORDERS = (
    ("shanghai", "Asia/Shanghai"),
    ("berlin", "Europe/Berlin"),
    ("vancouver", "America/Vancouver"),
    ("again", "Asia/Shanghai"),
    ("somewhere", None),
)


def _on(day: int, hour: int) -> datetime:
    return datetime(2026, 12, day, hour, tzinfo=UTC)


PAST = {
    "shanghai": [_on(1, 17)],  # 01:00 on the 2nd
    "berlin": [_on(1, 17)],  # still the 1st
    "vancouver": [_on(2, 8), _on(3, 6)],  # 23:00 on the 2nd: clocks there have stayed ahead since 2026
    "again": [_on(1, 20), _on(4, 9)],  # the 2nd, and later once more
    "somewhere": [_on(3, 5)],  # the 2nd where it is earliest
}


def _filled(store: Store) -> Bundle:
    for n in range(9):
        born(store, f"u{n}", f"19{n + 80}-12-{10 if n % 3 else 11}")
    born(store, "undated", "soon")
    return relative(BIRTHDAY, holdout="50%")


def test_dry_run_brake_and_calendar_count_whom_the_planner_takes(store: Store, clock: ManualClock) -> None:
    what, now = _filled(store), clock.now()
    with store.read() as connection:
        dry = dry_run(connection, world.planner(clock), what, Occasion(MONDAY), now, None, UNCAPPED)
        small = replace(what, campaign=replace(what.campaign, max_audience=5))
        item = Run(RunId(1), "lunch", "", MONDAY, RunState.PLANNING, now, now + timedelta(days=2), 0, 0)
        stopped = brake(connection, item, small)
        seen = calendar(connection, [Known(what, Source.FILE)], UNCAPPED, (MONDAY, MONDAY), now)
    assert dry.audience == 6
    assert dry.own_dates == OwnDates("birthday", False, date(2026, 12, 10), True, -3, 10, 1)
    assert stopped == Brake("max_audience", 6, 5)
    assert seen.entries[0].volume.audience == 6
    assert world.plan(store, what, clock).audience == 6


def test_the_calendar_expects_the_mean_of_its_dates(store: Store, clock: ManualClock) -> None:
    for n in range(12):
        born(store, f"u{n}", f"1990-12-{10 + n % 4}")
    what = world.bundle({"schedule": {"days": "every", "relative_to": BIRTHDAY}})
    with store.read() as connection:
        span = (MONDAY, MONDAY + timedelta(days=5))
        seen = calendar(connection, [Known(what, Source.FILE)], UNCAPPED, span, clock.now())
    assert seen.entries[0].volume.audience == 2  # 3 a day on four of six days
    assert [fire.volume.audience for fire in seen.fires if fire.volume] == [3, 3, 3, 3, 0, 0]


def test_the_calendar_judges_last_events_by_the_week_up_to_now(store: Store, clock: ManualClock) -> None:
    for n in range(14):
        world.person(store, f"u{n}")
        world.did(store, f"u{n}", "order_paid", clock.now() - timedelta(days=5 + n % 7))
    what = world.bundle({"schedule": {"days": "every", "relative_to": ORDER}})
    with store.read() as connection:
        span = (MONDAY + timedelta(days=30), MONDAY + timedelta(days=40))
        seen = calendar(connection, [Known(what, Source.FILE)], UNCAPPED, span, clock.now())
    assert seen.entries[0].volume.audience == 2


def test_a_run_of_no_date_is_no_run_of_anybodys_own(store: Store) -> None:
    with pytest.raises(AssertionError, match="has a date"):
        members_statement(relative(BIRTHDAY), store.dialect)


def test_one_run_each_year_for_everybody_born_in_a_leap_year(store: Store) -> None:
    """A whole month around the end of February: nobody is left out, nobody has it twice."""
    for n in range(10):
        born(store, f"u{n}", (date(1992, 2, 24) + timedelta(days=n)).isoformat())
    times: dict[int, int] = {}
    for day in _february():
        what = world.bundle(
            {"name": f"on-{day}", "schedule": {"dates": [day.isoformat()], "relative_to": {**BIRTHDAY, "offset": "0d"}}}
        )
        with store.read() as connection:
            clock = ManualClock(datetime.combine(day, datetime.min.time(), UTC))
            found = dry_run(connection, world.planner(clock), what, Occasion(day), clock.now(), None, UNCAPPED)
        times[day.day] = found.audience
    assert times == {22: 0, 23: 0, 24: 1, 25: 1, 26: 1, 27: 1, 28: 2, 1: 1, 2: 1, 3: 1, 4: 1, 5: 0}


def _february() -> Iterator[date]:
    return (date(2027, 2, 22) + timedelta(days=n) for n in range(12))
