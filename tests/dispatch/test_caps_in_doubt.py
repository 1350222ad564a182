"""A push whose answer was lost counts against caps while it waits to be sent again: the walk of R34 found that."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from orchestrator.clock import ManualClock, to_micros
from orchestrator.dispatch.sweep import recover_dead
from orchestrator.policy.caps import CapRule, Caps
from orchestrator.policy.caps_sql import at_cap_sql
from orchestrator.store import Store
from tests import world
from tests.dispatch.doors import door, ends, through

DAY = timedelta(days=1)
LUNCH = world.MONDAY + timedelta(hours=10, minutes=15)
ONE = {"steps": world.DEFINITION["steps"][:1], "window": {"local": "10:30-11:45", "spread": "0%"}}
RULE = CapRule(1, DAY)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = world.fresh(tmp_path / "t.db")
    yield made
    made.close()


@pytest.fixture
def clock(store: Store, tmp_path: Path) -> ManualClock:
    """A worker has died with a push on the wire; another campaign, more urgent, has one for the same person."""
    clock = ManualClock(world.OPENING)
    world.person(store, "ada")
    for name, priority in (("first", 50), ("second", 90)):
        world.plan(store, world.bundle({**ONE, "name": name, "priority": priority}), clock)
        clock.instant = LUNCH
        if name == "first":
            assert len(through(door(store, clock), clock, tmp_path)) == 1
            assert recover_dead(store, clock, {"fcm": True}, others=True).resent == 1
    return clock


def at_cap(store: Store) -> bool:
    sql = f"SELECT u.id FROM users AS u WHERE {at_cap_sql(RULE, (), 'u.id')}"
    with store.read() as connection:
        return connection.execute(text(sql), {"now": to_micros(LUNCH)}).first() is not None


def test_what_waits_to_be_sent_again_has_its_slot(store: Store, clock: ManualClock, tmp_path: Path) -> None:
    assert at_cap(store)
    [again] = through(door(store, clock, caps=lambda: Caps((RULE,))), clock, tmp_path)
    assert again.composed.message.attempts == 1
    assert ends(store) == {("sending", "resend"): 1, ("skipped", "capped:1 in 24h"): 1}


def test_the_variant_that_forgets_it_sends_two(store: Store, clock: ManualClock, tmp_path: Path) -> None:
    """The naive count: what is back in the queue has not left."""
    with store.write() as connection:
        connection.execute(text("UPDATE attempt SET outcome = 'retry'"))
    assert not at_cap(store)
    [first] = through(door(store, clock, caps=lambda: Caps((RULE,))), clock, tmp_path)
    assert first.composed.message.attempts == 0, "the second message to somebody who may have had one already"
