"""What a phone maker lets one app send to one device a day: counted in the ledger, asked at the mark."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from orchestrator.channel.push.quotas import DailyQuota
from orchestrator.clock import ManualClock
from orchestrator.dispatch.door import Door, Ready
from orchestrator.dispatch.quota import day_of
from orchestrator.ledger.claim import due_lanes
from orchestrator.ledger.states import State
from orchestrator.store import Store
from orchestrator.store.tables import message, transition
from tests import world
from tests.dispatch.doors import channel, door

LUNCH = world.MONDAY + timedelta(hours=10, minutes=15)
CHINA = "Asia/Shanghai"


def through(made: Door, clock: ManualClock, tmp_path: Path, quota: DailyQuota | None) -> list[Ready]:
    with made.store.read() as connection:
        lanes = due_lanes(connection, clock.now(), clock.machine())
    leaving: list[Ready] = []
    for lane in lanes:
        opened = channel(tmp_path, lane.channel)
        ready, out = made.claim_and_compose(lane, 100, opened)
        leaving += made.mark(lane, ready, out, quota)
        asyncio.run(opened.close())
    return leaving


def two_campaigns(store: Store, clock: ManualClock, **second: Any) -> None:
    steps = world.DEFINITION["steps"][:1]
    world.plan(store, world.bundle(name="first", steps=steps), clock)
    world.plan(store, world.bundle(name="second", steps=steps, **second), clock)


def sent(store: Store, state: State) -> None:
    """What was marked has been answered."""
    with store.write() as connection:
        answered = update(message).where(message.c.state == State.SENDING).values(state=state, worker_id=None)
        connection.execute(answered)


@pytest.mark.parametrize(
    ("state", "counts"), [(State.ACCEPTED, True), (State.UNKNOWN, True), (State.SENDING, True), (State.FAILED, False)]
)
def test_what_was_sent_or_may_have_been_counts(store: Store, tmp_path: Path, state: State, *, counts: bool) -> None:
    clock = ManualClock(world.OPENING)
    world.person(store, "ada")
    world.plan(store, world.bundle(name="first", steps=world.DEFINITION["steps"][:1]), clock)
    clock.instant = LUNCH
    made = door(store, clock)
    assert len(through(made, clock, tmp_path, DailyQuota(1, CHINA))) == 1
    sent(store, state)
    clock.instant = world.OPENING
    world.plan(store, world.bundle(name="second", steps=world.DEFINITION["steps"][:1]), clock)
    clock.instant = LUNCH
    assert len(through(made, clock, tmp_path, DailyQuota(1, CHINA))) == (0 if counts else 1)


def test_over_the_quota_past_the_deadline_is_skipped(store: Store, tmp_path: Path) -> None:
    clock = ManualClock(world.OPENING)
    for name in ("ada", "bob"):
        world.person(store, name)
    two_campaigns(store, clock)
    clock.instant = LUNCH
    made = door(store, clock)
    assert len(through(made, clock, tmp_path, DailyQuota(1, CHINA))) == 2  # one each
    with store.read() as connection:
        rows = connection.execute(select(message.c.user_id, message.c.state, message.c.reason)).all()
    assert sorted((row.state, row.reason) for row in rows) == [
        ("sending", None),
        ("sending", None),
        ("skipped", "quota"),
        ("skipped", "quota"),
    ]
    assert len({row.user_id for row in rows if row.state == "sending"}) == 2


def test_over_the_quota_with_a_later_day_waits_for_its_midnight(store: Store, tmp_path: Path) -> None:
    clock = ManualClock(world.OPENING)
    world.person(store, "ada")
    late = {"local": "10:30-11:45", "late": "next", "expires_after": "36h", "spread": "0%"}
    days = {"days": "every", "from": "2026-12-07", "until": "2026-12-09"}
    two_campaigns(store, clock, window=late, schedule=days)
    clock.instant = LUNCH
    made = door(store, clock)
    assert len(through(made, clock, tmp_path, DailyQuota(1, CHINA))) == 1
    midnight = datetime(2026, 12, 7, 16, tzinfo=UTC)  # of Shanghai
    with store.read() as connection:
        [(due, reason)] = connection.execute(
            select(message.c.due_at, message.c.reason).where(message.c.state == State.PLANNED)
        ).all()
        assert (due, reason) == (midnight, "quota")
        assert "quota" in connection.execute(select(transition.c.reason)).scalars().all()
    sent(store, State.ACCEPTED)
    clock.instant = LUNCH + timedelta(days=1)
    assert len(through(made, clock, tmp_path, DailyQuota(1, CHINA))) == 1


def test_without_a_quota_nothing_is_counted(store: Store, tmp_path: Path) -> None:
    clock = ManualClock(world.OPENING)
    world.person(store, "ada")
    two_campaigns(store, clock)
    clock.instant = LUNCH
    assert len(through(door(store, clock), clock, tmp_path, None)) == 2


@pytest.mark.parametrize(
    ("now", "since", "until"),
    [
        ("2026-12-07T15:59:59", "2026-12-06T16:00:00", "2026-12-07T16:00:00"),
        ("2026-12-07T16:00:00", "2026-12-07T16:00:00", "2026-12-08T16:00:00"),
    ],
)
def test_the_day_is_that_of_the_makers_zone(now: str, since: str, until: str) -> None:
    began, ended = day_of(CHINA, datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert (began.isoformat()[:19], ended.isoformat()[:19]) == (since, until)


def test_a_day_with_a_change_of_clocks_is_not_24_hours() -> None:
    began, ended = day_of("Europe/Berlin", datetime(2026, 10, 25, 12, tzinfo=UTC))
    assert ended - began == timedelta(hours=25)
