"""The brakes at the door: the allow-list of a staging deployment, the SMS budget, the guard's word."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from orchestrator.clock import ManualClock
from orchestrator.dispatch.cost import sms_parts
from orchestrator.ledger.runs import Occasion
from orchestrator.ledger.spend import Spent, spent
from orchestrator.plan.dry import SmsCost, dry_run
from orchestrator.policy.allowed import allowed, only_to
from orchestrator.store import Store
from orchestrator.store.tables import alert
from tests import world
from tests.dispatch.doors import door, ends, through

LUNCH = datetime(2026, 12, 7, 10, 15, tzinfo=UTC)
SMS: dict[str, Any] = {"steps": [{"channel": "sms", "template": "lunch"}]}


def planned(store: Store, people: int, **changes: Any) -> ManualClock:
    clock = ManualClock(world.OPENING)
    for n in range(people):
        world.person(store, f"u{n}", push=f"token-{n}", phone=f"+49151123450{n:02d}")
    world.plan(store, world.bundle(**changes), clock)
    clock.instant = LUNCH
    return clock


def test_an_allow_list_knows_users_and_addresses() -> None:
    listed = only_to(["u1", " Ada@Example.com "])
    assert allowed(None, "anybody", "x")
    assert allowed(listed, "u1", "token")
    assert allowed(listed, None, "ada@example.COM")
    assert not allowed(listed, "U1", "token")
    assert not allowed(only_to([]), "u1", "token")


def test_nothing_leaves_to_anybody_who_is_not_on_the_list(store: Store, tmp_path: Path) -> None:
    clock = planned(store, 5, steps=world.DEFINITION["steps"][:1])
    leaving = through(door(store, clock, only_to=only_to(["u1", "token-3"])), clock, tmp_path)
    assert {item.composed.address for item in leaving} == {"token-1", "token-3"}
    assert ends(store) == {("sending", None): 2, ("skipped", "only_to"): 3}


def test_an_empty_list_is_nobody(store: Store, tmp_path: Path) -> None:
    clock = planned(store, 2, steps=world.DEFINITION["steps"][:1])
    assert through(door(store, clock, only_to=only_to([])), clock, tmp_path) == []
    assert ends(store) == {("skipped", "only_to"): 2}


@pytest.mark.parametrize(
    ("budget", "sent"), [({"sms": 3}, 3), ({"sms_parts": 4}, 4), ({"sms": 9, "sms_parts": 2}, 2), ({"sms": 0}, 0)]
)
def test_an_sms_budget_is_never_overdrawn(store: Store, tmp_path: Path, budget: dict[str, int], sent: int) -> None:
    clock = planned(store, 6, budget=budget, **SMS)
    made = door(store, clock)
    for _ in range(6):
        through(made, clock, tmp_path, n=1)
    assert ends(store)["sending", None] == sent
    assert ends(store)["skipped", "budget"] == 6 - sent
    with store.read() as connection:
        assert spent(connection, "lunch") == Spent(sent, sent)
        assert list(connection.execute(select(alert.c.kind)).scalars()) == ["budget"]


def test_two_workers_share_one_budget(store: Store, tmp_path: Path) -> None:
    clock = planned(store, 30, budget={"sms_parts": 11}, **SMS)
    doors = [door(store, clock), door(store, clock)]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda n: through(doors[n % 2], clock, tmp_path, n=2), range(20)))
    assert ends(store) == {("sending", None): 11, ("skipped", "budget"): 19}


def test_what_was_paid_for_is_tried_again_free_of_charge(store: Store, tmp_path: Path) -> None:
    clock = planned(store, 1, budget={"sms": 1}, **SMS)
    made = door(store, clock)
    assert len(through(made, clock, tmp_path)) == 1
    with store.write() as connection:
        connection.exec_driver_sql("UPDATE message SET state = 'planned', worker_id = NULL")
    assert len(through(made, clock, tmp_path)) == 1
    with store.read() as connection:
        assert spent(connection, "lunch") == Spent(1, 1)


def test_a_budget_is_the_campaigns_or_each_runs(store: Store, tmp_path: Path) -> None:
    clock = planned(store, 3, budget={"sms": 2, "per": "run"}, **SMS)
    with store.write() as connection:
        connection.exec_driver_sql("INSERT INTO spend VALUES (99, 'lunch', 50, 50)")
    assert len(through(door(store, clock), clock, tmp_path)) == 2
    with store.read() as connection:
        assert spent(connection, "lunch") == Spent(52, 52)


def test_a_dry_run_says_whether_the_budget_will_do(store: Store) -> None:
    clock = ManualClock(world.OPENING)
    for n in range(4):
        world.person(store, f"u{n}", push=None, phone=f"+49151123450{n:02d}", locale="zh" if n else "en")
    what = world.bundle(budget={"sms_parts": 3}, **SMS)
    with store.read() as connection:
        found = dry_run(connection, world.planner(clock), what, Occasion(date(2026, 12, 7)), clock.now(), sms_parts)
    assert found.sms == SmsCost(4, 4, (None, 3))
    assert not found.sms.enough


def test_a_push_campaign_costs_no_sms(store: Store) -> None:
    clock = ManualClock(world.OPENING)
    what = world.bundle(steps=world.DEFINITION["steps"][:1])
    with store.read() as connection:
        found = dry_run(connection, world.planner(clock), what, Occasion(date(2026, 12, 7)), clock.now(), sms_parts)
    assert found.sms is None


def test_the_guard_hears_of_each_committed_mark_that_lets_something_leave(store: Store, tmp_path: Path) -> None:
    heard: list[tuple[str, str, datetime]] = []
    clock = planned(store, 2, steps=world.DEFINITION["steps"][:1])
    made = door(store, clock, marked=lambda *told: heard.append(told))
    through(made, clock, tmp_path)
    through(made, clock, tmp_path)
    assert heard == [("lunch", "2026-12-07", LUNCH)]
