"""Messages of triggered campaigns at the door: their words, what makes them needless, and when they may leave."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from orchestrator.channel.base import PushPayload
from orchestrator.clock import ManualClock
from orchestrator.dispatch.door import Ready
from orchestrator.ledger.states import State
from orchestrator.store import Store
from orchestrator.store.tables import message
from orchestrator.timing.quiet import NEVER_QUIET
from tests.dispatch.doors import door, ends, through
from tests.plan.carts import CART, NOON, ORDER, WAIT, campaign, happened, launched

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
TEMPLATES = {
    "lunch/push.en.j2": "title: Still thinking about {{ trigger.item }}?\n\n{{ trigger.value|default(0) }} in all\n"
}
EVENING = {"local": "18:00-20:00", "spread": "0%"}
"""In Berlin: six hours after NOON."""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


def joined(store: Store, clock: ManualClock, said: dict[str, Any] | None = None, **more: Any) -> None:
    """Two carts left behind at noon, and the tick when their waits are over."""
    what = replace(campaign({"properties": {"item": "a pan"}}, **more), templates=TEMPLATES)
    shop = launched(store, clock, what, people=2)
    for name in ("u0", "u1"):
        happened(store, name, CART, NOON, **({"item": f"the pan of {name}", "value": 3} if said is None else said))
    clock.advance(WAIT)
    shop.tick()


def left(store: Store, clock: ManualClock, tmp_path: Path) -> list[Ready]:
    """What leaves now."""
    return through(replace(door(store, clock), quiet=NEVER_QUIET), clock, tmp_path)


def test_templates_speak_of_the_event_that_it_is_sent_for(store: Store, clock: ManualClock, tmp_path: Path) -> None:
    joined(store, clock)
    happened(store, "u0", CART, clock.now(), item="something else by now")
    payloads = [item.composed.payload for item in left(store, clock, tmp_path)]
    assert {made.title for made in payloads if isinstance(made, PushPayload)} == {
        "Still thinking about the pan of u0?",
        "Still thinking about the pan of u1?",
    }


def test_a_property_that_is_missing_is_an_error(store: Store, clock: ManualClock, tmp_path: Path) -> None:
    joined(store, clock, {"value": 3})
    assert left(store, clock, tmp_path) == []
    assert ends(store) == {("skipped", "render_error"): 2}


def test_who_orders_while_it_is_held_gets_none(store: Store, clock: ManualClock, tmp_path: Path) -> None:
    joined(store, clock, window=EVENING)
    happened(store, "u0", ORDER, clock.now() + HOUR)
    clock.instant = NOON + 6 * HOUR
    assert [item.composed.payload.title for item in left(store, clock, tmp_path)] == [  # type: ignore[union-attr]
        "Still thinking about the pan of u1?"
    ]
    assert ends(store)["skipped", "needless"] == 1


def test_coming_back_counts_from_when_the_wait_was_over(store: Store, clock: ManualClock, tmp_path: Path) -> None:
    """The run was made long before by somebody else, and who comes back while waiting has not answered anything."""
    early = launched(store, clock, campaign(window=EVENING), people=3)
    happened(store, "u2", CART, NOON - 6 * HOUR)
    clock.instant = NOON - 5 * HOUR
    early.tick()  # makes the run
    happened(store, "u0", CART, NOON)
    happened(store, "u1", CART, NOON)
    happened(store, "u0", "app_open", NOON + 20 * MINUTE)
    clock.instant = NOON + WAIT
    early.tick()
    happened(store, "u1", "app_open", NOON + WAIT + MINUTE)
    clock.instant = NOON + 6 * HOUR
    left(store, clock, tmp_path)
    assert ends(store) == {("skipped", "came_back"): 1, ("sending", None): 2}


def test_each_may_leave_for_as_long_as_it_is_worth_from_their_own_instant(
    store: Store, clock: ManualClock, tmp_path: Path
) -> None:
    """The slots of the class are those of the last who joined: the gate asks by each member's own anchor."""
    shop = launched(store, clock, campaign(), people=2)
    happened(store, "u0", CART, NOON)
    happened(store, "u1", CART, NOON + HOUR)
    clock.instant = NOON + WAIT
    shop.tick()
    clock.instant = NOON + HOUR + WAIT
    shop.tick()
    clock.advance(HOUR - MINUTE)
    leaving = left(store, clock, tmp_path)
    assert sorted(item.until for item in leaving) == [NOON + WAIT + 2 * HOUR, NOON + WAIT + 3 * HOUR]
    with store.write() as connection:
        connection.execute(message.update().values(state=State.PLANNED, worker_id=None))
    clock.advance(MINUTE)
    left(store, clock, tmp_path)
    with store.read() as connection:
        rows = connection.execute(select(message.c.state, message.c.reason).order_by(message.c.user_id)).all()
    assert [tuple(row) for row in rows] == [("expired", "late"), ("sending", None)]
