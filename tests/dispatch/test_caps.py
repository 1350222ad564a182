"""Caps at the mark: who waits, until when, who is never sent to, and whose slot it is."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from orchestrator.audience.people import set_consent
from orchestrator.campaign.version import read_bundle
from orchestrator.clock import ManualClock
from orchestrator.dispatch.door import Door
from orchestrator.dispatch.restraint import restrained
from orchestrator.ledger import runs
from orchestrator.ledger.claim import due_lanes
from orchestrator.ledger.states import CampaignState, State
from orchestrator.plan.due import due_runs
from orchestrator.policy.caps import Backoff, CapRule, Caps
from orchestrator.policy.resolver import Opening
from orchestrator.store import Store
from orchestrator.store.tables import message, run, transition
from orchestrator.timing.instants import InstantSet
from tests import world
from tests.dispatch.doors import channel, door, ends, through
from tests.nightly import size

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LUNCH = world.MONDAY + timedelta(hours=10, minutes=15)
"""A quarter past eleven in Berlin."""
PUSH = world.DEFINITION["steps"][:1]
ALL_DAY = {"local": "00:00-24:00", "spread": "0%"}


def planned(store: Store, clock: ManualClock, name: str, **more: Any) -> None:
    world.plan(store, world.bundle({"name": name, "steps": PUSH, **more}), clock)


def arrived(store: Store) -> None:
    """What was marked has been accepted."""
    with store.write() as connection:
        answered = update(message).where(message.c.state == State.SENDING)
        connection.execute(answered.values(state=State.ACCEPTED, worker_id=None))


def rows(store: Store, name: str) -> list[tuple[Any, ...]]:
    """State, reason and due time of a campaign's messages."""
    with store.read() as connection:
        query = select(message.c.state, message.c.reason, message.c.due_at).join(run, run.c.id == message.c.run_id)
        return [tuple(row) for row in connection.execute(query.where(run.c.campaign == name))]


def test_without_room_before_the_deadline_it_is_not_sent(store: Store, tmp_path: Path) -> None:
    clock = ManualClock(world.OPENING)
    for name in ("ada", "bob"):
        world.person(store, name)
    planned(store, clock, "first")
    planned(store, clock, "second")
    clock.instant = LUNCH
    assert len(through(door(store, clock, caps=lambda: Caps((CapRule(1, DAY),))), clock, tmp_path)) == 2
    assert ends(store) == {("sending", None): 2, ("skipped", "capped:1 in 24h"): 2}
    with store.read() as connection:
        assert set(connection.execute(select(transition.c.reason)).scalars()) >= {"capped:1 in 24h"}


def test_it_waits_for_the_first_instant_with_room_and_leaves_then(store: Store, tmp_path: Path) -> None:
    clock = ManualClock(world.OPENING)
    world.person(store, "ada")
    planned(store, clock, "first", window=ALL_DAY)
    planned(store, clock, "second", window=ALL_DAY)
    clock.instant = LUNCH
    made = door(store, clock, caps=lambda: Caps((CapRule(1, 2 * HOUR),)))
    assert len(through(made, clock, tmp_path)) == 1
    arrived(store)
    assert rows(store, "second") == [("planned", "capped:1 in 2h", LUNCH + 2 * HOUR)]
    clock.instant = LUNCH + 2 * HOUR - timedelta(microseconds=1)
    assert through(made, clock, tmp_path) == []
    clock.instant = LUNCH + 2 * HOUR
    assert len(through(made, clock, tmp_path)) == 1


def test_room_at_night_is_used_when_the_window_opens(store: Store, tmp_path: Path) -> None:
    clock = ManualClock(world.OPENING)
    world.person(store, "ada")
    days = {"days": "every", "from": "2026-12-07", "until": "2026-12-09"}
    later = {"local": "10:30-11:45", "late": "next", "expires_after": "48h", "spread": "0%"}
    planned(store, clock, "first")
    planned(store, clock, "second", window=later, schedule=days)
    clock.instant = LUNCH
    assert len(through(door(store, clock, caps=lambda: Caps((CapRule(1, 12 * HOUR),))), clock, tmp_path)) == 1
    opens = world.MONDAY + timedelta(days=1, hours=9, minutes=30)
    assert rows(store, "second") == [("planned", "capped:1 in 12h", opens)]


def test_an_evening_and_the_morning_after_are_within_a_day(store: Store, tmp_path: Path) -> None:
    """Braze's calendar days let both pass."""
    clock = ManualClock(world.OPENING)
    world.person(store, "ada", "Africa/Abidjan")
    planned(store, clock, "first", window={"local": "19:00-19:30", "spread": "0%"})
    clock.instant = world.MONDAY + 19 * HOUR
    made = door(store, clock, caps=lambda: Caps((CapRule(1, DAY),)))
    assert len(through(made, clock, tmp_path)) == 1
    arrived(store)
    morning = {"local": "09:00-20:00", "spread": "0%"}
    planned(store, clock, "second", window=morning, schedule={"dates": ["2026-12-08"]})
    clock.instant = world.MONDAY + 33 * HOUR
    assert through(made, clock, tmp_path) == []
    assert rows(store, "second") == [("planned", "capped:1 in 24h", world.MONDAY + 43 * HOUR)]


def test_0_is_never(store: Store, tmp_path: Path) -> None:
    """Mautic #10416: no limit at all."""
    clock = ManualClock(world.OPENING)
    world.person(store, "ada")
    planned(store, clock, "first")
    clock.instant = LUNCH
    assert through(door(store, clock, caps=lambda: Caps((CapRule(0, HOUR, "push"),))), clock, tmp_path) == []
    assert ends(store) == {("skipped", "capped:0 push in 1h"): 1}


def test_exempt_messages_neither_count_nor_are_capped(store: Store, tmp_path: Path) -> None:
    clock = ManualClock(world.OPENING)
    world.person(store, "ada")
    for name, tags in (("receipt", ["transactional"]), ("offer", []), ("parcel", ["transactional", "news"])):
        planned(store, clock, name, tags=tags)
    clock.instant = LUNCH
    caps = Caps((CapRule(1, DAY),), frozenset({"transactional"}))
    assert len(through(door(store, clock, caps=lambda: caps), clock, tmp_path)) == 3


def test_rules_by_tag_count_what_carries_the_tag(store: Store, tmp_path: Path) -> None:
    clock = ManualClock(world.OPENING)
    world.person(store, "ada")
    for name, tags in (("a", ["news"]), ("b", ["promotion"]), ("c", ["promotion", "news"]), ("d", [])):
        planned(store, clock, name, tags=tags)
    clock.instant = LUNCH
    caps = Caps((CapRule(1, DAY, tag="promotion"), CapRule(1, DAY, tag="promotions")))
    assert len(through(door(store, clock, caps=lambda: caps), clock, tmp_path)) == 3
    assert ends(store)["skipped", "capped:1 promotion in 24h"] == 1  # d is of the tag of its topic


def test_held_out_members_take_no_slot_and_are_judged_alike(store: Store, tmp_path: Path) -> None:
    clock = ManualClock(world.OPENING)
    everybody = [world.person(store, f"u{n}") for n in range(30)]
    planned(store, clock, "first", holdout="50%", priority=90)
    planned(store, clock, "second", priority=80)
    planned(store, clock, "third", holdout="50%", priority=70)
    clock.instant = LUNCH
    through(door(store, clock, caps=lambda: Caps((CapRule(1, DAY),))), clock, tmp_path)
    first, second, third = (Counter(row[0] for row in rows(store, name)) for name in ("first", "second", "third"))
    assert first["held_out"] > 0
    assert second == {"sending": first["held_out"], "skipped": first["sending"]}
    assert third == {"skipped": len(everybody)}  # the held out of it as well: everybody has had one


def test_a_higher_priority_within_the_horizon_has_the_slot(store: Store, tmp_path: Path) -> None:
    clock = ManualClock(world.OPENING)
    for name in ("ada", "bob", "eve"):
        world.person(store, name)
    planned(store, clock, "low", window=ALL_DAY, priority=10)
    planned(store, clock, "high", window={"local": "18:00-19:00", "spread": "0%"}, priority=60)
    with store.write() as connection:  # bob wants no more of it; eve's is out of time by then
        set_consent(connection, 2, "push", "promotions", granted=False, source="t", at=clock.now())
        mine = (message.c.user_id == 3, message.c.due_at > LUNCH)
        connection.execute(update(message).where(*mine).values(deadline=LUNCH))
    clock.instant = LUNCH
    made = door(store, clock, caps=lambda: Caps((CapRule(1, DAY),)))
    assert [item.composed.message.user_id for item in through(made, clock, tmp_path)] == [3]
    assert ("planned", "capped:1 in 24h", world.MONDAY + 17 * HOUR) in rows(store, "low")
    assert ("skipped", "no_consent") in {row[:2] for row in rows(store, "low")}


@pytest.mark.parametrize(
    ("horizon", "rule", "high", "leaves"),
    [
        (HOUR, CapRule(1, DAY), {"priority": 60}, True),  # too far off to reserve
        (DAY, CapRule(1, HOUR), {"priority": 60}, True),  # by then the span has room again
        (DAY, CapRule(2, DAY), {"priority": 60}, True),  # not the last slot
        (DAY, CapRule(1, DAY), {"priority": 10}, True),  # no higher
        (DAY, CapRule(1, DAY), {"priority": 60, "tags": ["transactional"]}, True),
        (DAY, CapRule(1, DAY, "push", "news"), {"priority": 60, "tags": ["offers"]}, True),
        (DAY, CapRule(1, DAY, "push", "news"), {"priority": 60, "tags": ["news"]}, False),
    ],
)
def test_what_reserves_a_slot(
    store: Store, tmp_path: Path, horizon: timedelta, rule: CapRule, high: dict[str, Any], *, leaves: bool
) -> None:
    clock = ManualClock(world.OPENING)
    world.person(store, "ada")
    planned(store, clock, "low", window=ALL_DAY, priority=10, tags=["news"])
    planned(store, clock, "high", window={"local": "18:00-19:00", "spread": "0%"}, **high)
    clock.instant = LUNCH
    made = door(store, clock, caps=lambda: Caps((rule,), frozenset({"transactional"}), horizon))
    assert bool(through(made, clock, tmp_path)) == leaves


@pytest.mark.parametrize("state", ["stopped", "paused"])
def test_a_campaign_that_does_not_run_reserves_nothing(store: Store, tmp_path: Path, state: str) -> None:
    clock = ManualClock(world.OPENING)
    world.person(store, "ada")
    planned(store, clock, "low", window=ALL_DAY, priority=10)
    planned(store, clock, "high", window={"local": "18:00-19:00"}, priority=60)
    with store.write() as connection:
        runs.set_campaign_state(connection, "high", CampaignState(state), clock.now(), "t")
    clock.instant = LUNCH
    assert len(through(door(store, clock, caps=lambda: Caps((CapRule(1, DAY),))), clock, tmp_path)) == 1


def test_who_does_not_answer_hears_less_then_nothing_and_is_greeted_again(store: Store, tmp_path: Path) -> None:
    clock = ManualClock(world.OPENING)
    world.person(store, "ada")
    planned_days = {"days": "every", "from": "2026-12-07", "until": "2027-01-20"}
    world.launch(
        store, world.bundle({"name": "daily", "steps": PUSH, "window": ALL_DAY}, schedule=planned_days), clock.now()
    )
    backoff = Caps(backoff=Backoff(2, (2 * DAY, 5 * DAY), frozenset({"push"})))
    sent = []
    for day in range(36):
        clock.instant = world.OPENING + day * DAY
        with store.write() as connection:
            due = due_runs(connection, clock.now())
        for item, found in due:
            world.planner(clock).plan(store, item, found)
        if day == 30:
            world.did(store, "ada", "app_open", clock.now() + 2 * HOUR)
        clock.instant = world.MONDAY + day * DAY + 12 * HOUR
        if through(door(store, clock, caps=lambda: backoff), clock, tmp_path):
            sent.append(day)
            arrived(store)
    assert sent == [0, 1, 3, 8, 31, 32, 34]  # on day 30 they are back by themselves
    assert {reason for _, reason in ends(store)} >= {"backoff:2d", "backoff:5d", "backoff:silence"}


def test_workers_at_once_never_send_more_than_the_cap(store: Store, tmp_path: Path) -> None:
    """R12: twenty campaigns, a cap of two a day."""
    people = size(100, 1000)
    clock = crowd(store, people, campaigns=20)
    doors = [door(store, clock, caps=lambda: TWO_A_DAY) for _ in range(size(4, 8))]
    assert most_sent(store, at_once(store, clock, tmp_path, doors)) == 2
    assert ends(store) == {("sending", None): 2 * people, ("skipped", "capped:2 in 24h"): 18 * people}


def test_a_count_from_before_the_marks_transaction_is_too_old(store: Store, tmp_path: Path) -> None:
    """The naive variant: two workers look, both see room, both send."""
    clock = crowd(store, people=5, campaigns=3)
    doors = [door(store, clock) for _ in range(3)]
    with store.read() as connection:
        lanes = due_lanes(connection, clock.now(), clock.machine())
    opened = channel(tmp_path, "push")
    taken = [made.claim_and_compose(lane, 30, opened)[0] for made, lane in zip(doors, lanes, strict=True)]
    asyncio.run(opened.close())
    anything = Opening(InstantSet(((clock.now(), clock.now() + DAY),)))
    with store.read() as connection:
        what = read_bundle(connection, lanes[0].version).campaign
        for batch in taken:
            asked = (connection, TWO_A_DAY, what, what.steps[0], batch, clock.now())
            assert restrained(*asked, lambda _: anything) == {}
    left = [made.mark(lane, batch, []) for made, lane, batch in zip(doors, lanes, taken, strict=True)]
    assert most_sent(store, sum(map(len, left))) == 3


TWO_A_DAY = Caps((CapRule(2, DAY),))


def crowd(store: Store, people: int, campaigns: int) -> ManualClock:
    """People, and campaigns of one priority that all want them now."""
    clock = ManualClock(world.OPENING)
    for n in range(people):
        world.person(store, f"u{n}")
    for n in range(campaigns):
        planned(store, clock, f"c{n}", window=ALL_DAY)
    clock.instant = LUNCH
    return clock


def at_once(store: Store, clock: ManualClock, tmp_path: Path, doors: list[Door]) -> int:
    """All due lanes through several doors in parallel; how many messages left."""
    with store.read() as connection:
        lanes = due_lanes(connection, clock.now(), clock.machine())
    leaving: list[int] = []

    def work(number: int, made: Door) -> None:
        opened = channel(tmp_path, "push")
        first = number * len(lanes) // len(doors)
        for lane in lanes[first:] + lanes[:first]:  # each from another campaign on: they meet the same people
            while any(batch := made.claim_and_compose(lane, 30, opened)):
                leaving.append(len(made.mark(lane, *batch)))
        asyncio.run(opened.close())

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(doors)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(250)
    return sum(leaving)


def most_sent(store: Store, left: int) -> int:
    """How many somebody has got, of so many that left."""
    with store.read() as connection:
        users = connection.execute(select(message.c.user_id).where(message.c.sent_at.is_not(None))).scalars().all()
    assert len(users) == left
    return max(Counter(users).values())
