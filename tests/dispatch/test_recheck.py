"""``recheck: segment``: who is no longer in it as their message leaves gets none."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from orchestrator.clock import ManualClock
from orchestrator.store import Store
from tests import world
from tests.dispatch.doors import door, ends, through

LUNCH = world.MONDAY + timedelta(hours=10, minutes=15)
PUSH = world.DEFINITION["steps"][:1]
MONTH = timedelta(days=30)


def after_lunch(store: Store, tmp_path: Path, **more: Any) -> dict[Any, int]:
    """What became of Ada, whose order drops out of the month before lunch, and of Bob and Eve."""
    clock = ManualClock(world.OPENING)
    for name, ago in (("ada", MONTH - timedelta(minutes=5)), ("bob", MONTH / 2), ("eve", MONTH / 3)):
        world.person(store, name)
        world.did(store, name, "order_paid", world.OPENING - ago)
    world.plan(store, world.bundle({"steps": PUSH, "audience": {"segment": "regulars"}, **more}), clock)
    clock.instant = LUNCH
    through(door(store, clock), clock, tmp_path)
    return dict(ends(store))


def test_who_has_dropped_out_is_skipped(store: Store, tmp_path: Path) -> None:
    assert after_lunch(store, tmp_path, recheck="segment") == {
        ("sending", None): 2,
        ("skipped", "no_longer_in_segment"): 1,
    }


def test_without_it_they_get_what_was_planned(store: Store, tmp_path: Path) -> None:
    assert after_lunch(store, tmp_path) == {("sending", None): 3}


def test_held_out_members_are_asked_alike(store: Store, tmp_path: Path) -> None:
    said = after_lunch(store, tmp_path, recheck="segment", holdout="90%")
    assert said["skipped", "no_longer_in_segment"] == 1
    assert sum(said.values()) == 3


def test_who_is_in_an_excluded_segment_by_then_is_excluded(store: Store, tmp_path: Path) -> None:
    clock = ManualClock(world.OPENING)
    for name in ("ada", "bob"):
        world.person(store, name)
    audience = {"segment": "everybody", "exclude": ["regulars"]}
    world.plan(store, world.bundle({"steps": PUSH, "audience": audience}, recheck="segment"), clock)
    world.did(store, "ada", "order_paid", world.OPENING + timedelta(hours=1))
    clock.instant = LUNCH
    through(door(store, clock), clock, tmp_path)
    assert ends(store) == {("sending", None): 1, ("skipped", "excluded"): 1}


def test_a_newer_event_makes_the_run_nobodys_of_theirs(store: Store, tmp_path: Path) -> None:
    """Relative to the last order: whoever orders between planning and sending is not in that audience any more."""
    clock = ManualClock(world.OPENING)
    for name in ("ada", "bob"):
        world.person(store, name)
        world.did(store, name, "order_paid", world.MONDAY - timedelta(days=5) + timedelta(hours=9))
    relative = {"days": "every", "from": "2026-12-07", "relative_to": {"event": "order_paid", "offset": "5d"}}
    world.plan(store, world.bundle({"steps": PUSH, "schedule": relative}, recheck="segment"), clock)
    world.did(store, "ada", "order_paid", world.OPENING + timedelta(hours=1))
    clock.instant = LUNCH
    through(door(store, clock), clock, tmp_path)
    assert ends(store) == {("sending", None): 1, ("skipped", "no_longer_in_segment"): 1}
