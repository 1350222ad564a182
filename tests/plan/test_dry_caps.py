"""What a dry run says of caps is what the mark would do now."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from orchestrator.clock import ManualClock
from orchestrator.ledger.runs import Occasion
from orchestrator.plan.dry import DryRun, dry_run
from orchestrator.policy.caps import Backoff, CapRule, Caps
from orchestrator.store import Store
from tests import world
from tests.dispatch.doors import door, ends, through

DAY = timedelta(days=1)
TODAY = world.MONDAY.date()
PUSH = world.DEFINITION["steps"][:1]
ALL_DAY = {"local": "00:00-24:00", "spread": "0%"}


def dry(store: Store, clock: ManualClock, caps: Caps, **more: object) -> DryRun:
    made = world.bundle({"name": "next", "steps": PUSH, "window": ALL_DAY, **more})
    with store.read() as connection:
        return dry_run(connection, world.planner(clock), made, Occasion(TODAY), clock.now(), caps=caps)


def test_members_at_a_cap_are_counted_by_rule(store: Store, tmp_path: Path) -> None:
    clock = ManualClock(world.OPENING)
    for n in range(5):
        world.person(store, f"u{n}", push=None if n == 4 else "")
    what = world.bundle({"name": "first", "steps": PUSH, "window": ALL_DAY}, holdout="50%")
    world.plan(store, what, clock)
    clock.instant = world.MONDAY + timedelta(hours=10)
    through(door(store, clock), clock, tmp_path)
    sent = ends(store)["sending", None]
    assert 0 < sent < 4
    hour, never = CapRule(1, timedelta(hours=1)), CapRule(0, DAY, "push", "news")
    caps = Caps((hour, CapRule(2, DAY), CapRule(1, DAY, "sms"), never), backoff=Backoff(1, (DAY,), frozenset({"push"})))
    assert dry(store, clock, caps).caps == {"1 in 1h": sent, "2 in 24h": 0, "backoff": sent}
    assert dry(store, clock, caps, tags=["news"]).caps["0 push news in 24h"] == 4
    clock.instant += timedelta(hours=1)
    assert dry(store, clock, caps).caps == {"1 in 1h": 0, "2 in 24h": 0, "backoff": sent}
    exempt = Caps((hour,), frozenset({"transactional"}))
    assert dry(store, clock, exempt, tags=["transactional"]).caps == {}


def test_what_it_says_is_what_becomes_of_them(store: Store, tmp_path: Path) -> None:
    clock = ManualClock(world.OPENING)
    for n in range(6):
        world.person(store, f"u{n}")
    world.plan(store, world.bundle({"name": "first", "steps": PUSH, "window": ALL_DAY}, holdout="50%"), clock)
    world.plan(store, world.bundle({"name": "next", "steps": PUSH, "window": ALL_DAY}), clock)
    clock.instant = world.MONDAY + timedelta(hours=10)
    caps = Caps((CapRule(1, 2 * DAY),))
    made = door(store, clock, caps=lambda: caps)
    through(made, clock, tmp_path)
    after = ends(store)
    assert dry(store, clock, caps).caps == {"1 in 2d": after["sending", None]}  # everybody has had one by now
    assert after["skipped", "capped:1 in 2d"] == after["sending", None] - after["held_out", "holdout"]
