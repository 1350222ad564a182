"""The shop of the page about triggers: seven people of Berlin, their carts of the last week, and the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from orchestrator.clock import ManualClock
from orchestrator.ledger.settle import Settlement, settle
from orchestrator.ledger.states import State
from orchestrator.plan.enrolling import Enroller
from orchestrator.store import Store, upgrade
from tests import world
from tests.dispatch.doors import door, through
from tests.plan.carts import CART, NOON, ORDER, happened

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
PEOPLE = ("ada", "bob", "cyd", "dan", "eve", "fay", "gus")
_TEMPLATES = {
    "cart/push.en.j2": "title: Still thinking about {{ trigger.item }}?\n\nWe kept it for you.\n",
    "cart/push.zh.j2": "title: {{ trigger.item }}还在购物车里\n\n帮你留着。\n",
}


def build(folder: Path, fields: dict[str, Any], now: datetime) -> None:
    """The files, and everybody's past; the commands' clock stands (nearly) still at ``now``."""
    log = {"channel": "push", "provider": "log", "options": {"file": "push.jsonl"}}
    clock = {"start": now.isoformat(), "origin": datetime.now(UTC).isoformat(), "speed": 0.0001}
    kept = {name: value for name, value in world.DEFINITION.items() if name not in {"schedule", "window", "steps"}}
    definition = {**kept, "name": "cart", "title": {"en": "Your cart"}, **fields}
    files: dict[str, Any] = {
        "orchestrator.yaml": {"database": "o.db", "accounts": {"fcm": log}, "clock": clock},
        "campaigns/cart.yaml": definition,
        **{f"campaigns/segments/{name}.yaml": text for name, text in world.SEGMENTS.items()},
        **{f"templates/{name}": text for name, text in _TEMPLATES.items()},
    }
    world.write_files(folder, files)
    if (folder / "o.db").exists():
        return
    store = Store(str(folder / "o.db"))
    upgrade(store)
    for n, name in enumerate(PEOPLE):
        world.person(store, name, push=None if name == "eve" else "")
        for day in range(7):
            if (n + day) % 4 == 0:
                happened(store, name, CART, NOON - day * DAY - (2 + n) * HOUR, item="a pan")
                if n % 3 == 2:  # a third of them
                    happened(store, name, ORDER, NOON - day * DAY - (2 + n) * HOUR + 20 * MINUTE)
    store.close()


def evening(folder: Path) -> None:
    """After the launch: Ada, Bob and Dan leave a cart behind, Ada and Dan order; Cyd's has just been put together."""
    store, clock = Store(str(folder / "o.db")), ManualClock(NOON)
    shop = Enroller(store, world.planner(clock))
    happened(store, "ada", CART, NOON + 9 * HOUR, item="a wok")
    happened(store, "bob", CART, NOON + 9 * HOUR, item="a knife")
    happened(store, "dan", CART, NOON + 9 * HOUR, item="a bowl")
    happened(store, "dan", ORDER, NOON + 9 * HOUR + 20 * MINUTE)
    clock.instant = NOON + 9 * HOUR + 46 * MINUTE
    shop.tick()
    happened(store, "ada", ORDER, NOON + 10 * HOUR)
    happened(store, "cyd", CART, NOON + 10 * HOUR, item="a pot")
    clock.instant = NOON + 10 * HOUR + MINUTE
    shop.tick()
    store.close()


def morning(folder: Path) -> None:
    """At eleven everything has been at the door."""
    store, clock = Store(str(folder / "o.db")), ManualClock(NOON + 23 * HOUR)
    made = door(store, clock)
    leaving = through(made, clock, folder)
    with store.write() as connection:
        now = clock.now()
        done = [
            Settlement(item.composed.message.id, 1, "fcm", now, now, "accepted", State.ACCEPTED) for item in leaving
        ]
        settle(connection, made.holder(), now, done)
    store.close()
