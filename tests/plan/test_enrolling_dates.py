"""Triggered campaigns: which date and run somebody joins, how often, and when what they get is due."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from orchestrator.clock import ManualClock
from orchestrator.dispatch.sweep import sweep
from orchestrator.ledger.runs import runs_in
from orchestrator.ledger.states import RunState
from orchestrator.plan.members import TOGETHER
from orchestrator.store import Store
from orchestrator.store.tables import message
from tests import world
from tests.plan.carts import CART, NOON, WAIT, campaign, due, happened, joined, launched, waiting

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
TODAY = "2026-12-07"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


def test_nobody_joins_again_before_they_may(store: Store, clock: ManualClock) -> None:
    shop = launched(store, clock, campaign({"again_after": "3d"}))
    for day in range(5):
        at = NOON + day * DAY
        happened(store, "u0", CART, at)
        clock.instant = at + WAIT
        shop.tick()
    assert joined(store) == {"u0": [(TODAY, None), ("2026-12-10", None)]}


def test_nobody_joins_twice_on_a_date(store: Store, clock: ManualClock) -> None:
    shop = launched(store, clock, campaign({"again_after": "1h"}))
    for hours in (0, 3, 14):
        happened(store, "u0", CART, NOON + hours * HOUR)
        clock.instant = NOON + hours * HOUR + WAIT
        shop.tick()
    assert joined(store) == {"u0": [(TODAY, None), ("2026-12-08", None)]}
    with store.read() as connection:
        assert connection.execute(select(func.count()).select_from(message)).scalar_one() == 2


def test_everybody_joins_the_run_of_their_own_date(store: Store, clock: ManualClock) -> None:
    shop = launched(store, clock, people=0)
    clock.advance(-HOUR)
    for name, zone in {"a": "Pacific/Kiritimati", "b": "Europe/Berlin", "c": "Pacific/Pago_Pago", "d": None}.items():
        world.person(store, name, zone)
        happened(store, name, CART, clock.now() - WAIT)
    shop.tick()
    assert joined(store) == {
        "a": [("2026-12-08", None)],
        "b": [(TODAY, None)],
        "c": [("2026-12-06", None)],
        "d": [("2026-12-06", None)],  # they may be anywhere
    }
    assert set(due(store).values()) == {clock.now()}  # at any time of the day: it makes no difference


@pytest.mark.parametrize(
    ("window", "hour", "day", "leaves", "reason"),
    [
        ({"local": "09:00-20:00"}, 12, TODAY, 12, None),
        ({"local": "14:00-20:00"}, 12, TODAY, 14, None),  # held until it opens
        ({"local": "09:00-11:00"}, 12, TODAY, None, "late"),
        ({"local": "09:00-11:00", "late": "next"}, 12, TODAY, 24 + 9, None),
        ({"local": "09:00-11:00", "late": "next", "expires_after": "5h"}, 12, TODAY, None, "late"),
        ({"local": "20:00-02:00"}, 25, TODAY, 25, None),  # after midnight its window is still open
        ({"local": "20:00-02:00"}, 27, "2026-12-08", 24 + 20, None),
        ({"expires_after": "2h"}, 22, TODAY, 22, None),
    ],
)
def test_the_window_is_that_of_the_members_own_date(  # one case each
    store: Store, clock: ManualClock, window: dict[str, str], hour: int, day: str, leaves: int | None, reason: str
) -> None:
    midnight = datetime(2026, 12, 6, 23, tzinfo=UTC)  # in Berlin
    shop = launched(store, clock, campaign(window={"spread": "0%", **window} if "local" in window else window))
    clock.instant = midnight + hour * HOUR
    happened(store, "u0", CART, clock.now() - WAIT)
    shop.tick()
    assert joined(store) == {"u0": [(day, reason)]}
    assert due(store) == ({} if leaves is None else {"u0": midnight + leaves * HOUR})


def test_what_may_leave_at_once_is_not_spread_and_what_is_held_is(store: Store, clock: ManualClock) -> None:
    shop = launched(store, clock, campaign(window={"local": "13:00-20:00", "spread": "50%"}), people=10 * TOGETHER)
    for n in range(8 * TOGETHER):
        happened(store, f"u{n}", CART, NOON - 40 * MINUTE)  # due at 12:05, held until 13:00
    for n in range(8 * TOGETHER, 10 * TOGETHER):
        happened(store, f"u{n}", CART, NOON + HOUR)
    clock.advance(5 * MINUTE)
    shop.tick()
    clock.instant = NOON + HOUR + WAIT
    shop.tick()
    found = due(store)
    held = Counter(found[f"u{n}"] for n in range(8 * TOGETHER))  # ids begin at 1: the first and last block have fewer
    assert sorted(held.values()) == [1, TOGETHER - 1, *[TOGETHER] * 7]
    assert all(NOON + HOUR <= due < NOON + HOUR + 3.5 * HOUR for due in held)
    assert {found[f"u{n}"] for n in range(8 * TOGETHER, 10 * TOGETHER)} == {clock.now()}


def test_a_run_stays_open_until_nobody_can_join_it(store: Store, clock: ManualClock) -> None:
    shop = launched(store, clock, campaign({"again_after": "1h"}))
    happened(store, "u0", CART, NOON)
    clock.advance(WAIT)
    shop.tick()
    with store.write() as connection:
        connection.execute(message.update().values(state="accepted"))
    sweep(store, clock, {})
    clock.instant = datetime(2026, 12, 8, 11, 59, tzinfo=UTC)  # it ends at UTC-12 a minute later
    sweep(store, clock, {})
    with store.read() as connection:
        [found] = runs_in(connection, RunState.ACTIVE)
    assert found.enrols_until == datetime(2026, 12, 8, 12, tzinfo=UTC)
    clock.advance(MINUTE)
    sweep(store, clock, {})
    with store.read() as connection:
        assert runs_in(connection, RunState.ACTIVE) == []


def test_a_run_that_would_grow_too_large_is_stopped(store: Store, clock: ManualClock) -> None:
    shop = launched(store, clock, campaign(max_audience=2), people=4)
    for n in range(4):
        happened(store, f"u{n}", CART, NOON + n * MINUTE)
    clock.advance(WAIT + MINUTE)
    shop.tick()
    clock.advance(2 * MINUTE)
    shop.tick()
    assert set(joined(store)) == {"u0", "u1"}
    assert waiting(store) == set()
    with store.read() as connection:
        [found] = runs_in(connection, RunState.STOPPED)
    assert (found.audience, found.reason) == (2, "max_audience")


def test_dates_before_from_and_after_until_have_no_run(store: Store, clock: ManualClock) -> None:
    shop = launched(store, clock, campaign(span={"from": "2026-12-08", "until": "2026-12-08"}))
    for n in range(3):
        at = NOON + n * DAY
        happened(store, f"u{n}", CART, at)
        clock.instant = at + WAIT
        shop.tick()
    assert joined(store) == {"u1": [("2026-12-08", None)]}


def test_a_later_step_waits_from_the_first_and_expires_from_then(store: Store, clock: ManualClock) -> None:
    steps = [
        {"channel": "push", "template": "lunch"},
        {"channel": "push", "template": "lunch", "when": {"not": "reopened", "after": "5h"}},
    ]
    shop = launched(store, clock, campaign(steps=steps))
    happened(store, "u0", CART, NOON)
    clock.advance(WAIT)
    shop.tick()
    with store.read() as connection:
        rows = connection.execute(select(message.c.due_at, message.c.deadline).order_by(message.c.step)).all()
    start = NOON + WAIT
    assert [tuple(row) for row in rows] == [(start, start + 2 * HOUR), (start + 5 * HOUR, start + 7 * HOUR)]
