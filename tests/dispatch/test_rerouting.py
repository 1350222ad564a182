"""A stopped account's messages go to the next one that takes them, or wait; a new address finds its account."""

from __future__ import annotations

import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text

from orchestrator.audience import people
from orchestrator.clock import ManualClock
from orchestrator.dispatch import rerouting
from orchestrator.dispatch.rerouting import leave_stopped
from orchestrator.dispatch.sweep import recover_dead, sweep
from orchestrator.ledger.claim import due_lanes
from orchestrator.ledger.restored import REASON as RESTORED
from orchestrator.ledger.runs import set_campaign_state
from orchestrator.ledger.states import CampaignState, State
from orchestrator.ledger.stops import resume_account, stop_account
from orchestrator.plan.due import due_runs
from orchestrator.plan.planner import Planner
from orchestrator.policy.carriers import Carrier, Routing
from orchestrator.report.explain import explain
from orchestrator.report.launched import launched
from orchestrator.report.telling import tell
from orchestrator.store import Store
from orchestrator.store.tables import address, attempt, message, transition, worker
from orchestrator.timing.quiet import QuietHours
from orchestrator.tracking.callbacks import _sent
from tests import world
from tests.dispatch.doors import door, through

LUNCH = world.MONDAY + timedelta(hours=10, minutes=15)
PUSH = [{"channel": "push", "template": "lunch"}]
APPLE = frozenset({"apns"})


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(world.OPENING)


def plan(store: Store, clock: ManualClock, routing: Routing, *steps: dict[str, object]) -> None:
    world.launch(store, world.bundle(steps=list(steps) or PUSH), clock.now())
    with store.write() as connection:
        [(item, found)] = due_runs(connection, clock.now())
    Planner(clock, QuietHours.load(None), routing).plan(store, item, found)


def through_accounts(store: Store) -> dict[str, str]:
    """By user: the account that their message waits for."""
    sql = text("""
        SELECT users.external_id, lane.account FROM message JOIN lane ON lane.id = message.lane_id
        JOIN users ON users.id = message.user_id""")
    with store.read() as connection:
        return {row[0]: row[1] for row in connection.execute(sql)}


def stop(store: Store, clock: ManualClock, *names: str, reason: str = "401") -> None:
    with store.write() as connection:
        for name in names:
            stop_account(connection, name, reason, clock.machine(), clock.machine(), "daemon")


def crowd(store: Store, count: int, kind: str | None = None) -> None:
    for n in range(count):
        world.person(store, f"u{n}", push=None)
        with store.write() as connection:
            at = world.OPENING - timedelta(days=1)
            people.upsert_addresses(connection, [people.AddressRow(f"u{n}", "push", f"t{n}", at, kind)], at)


ABC = Routing(tuple(Carrier(name, "push") for name in "abc"))


def test_they_follow_the_order_of_fallback_and_wait_when_none_is_left(store: Store, clock: ManualClock) -> None:
    crowd(store, 3)
    plan(store, clock, ABC)
    order = [set(through_accounts(store).values())]
    for name in ("a", "b", "c"):
        stop(store, clock, name)
        leave_stopped(store, clock, ABC)
        order.append(set(through_accounts(store).values()))
    assert order == [{"a"}, {"b"}, {"c"}, {"c"}]
    with store.read() as connection:
        assert set(connection.execute(select(message.c.state)).scalars()) == {State.PLANNED}


def test_what_was_moved_can_be_claimed_and_says_so(store: Store, clock: ManualClock, tmp_path: Path) -> None:
    crowd(store, 2)
    plan(store, clock, ABC)
    stop(store, clock, "a")
    assert sweep(store, clock, {"push": True}, ABC).moved == 2
    assert sweep(store, clock, {"push": True}, ABC).moved == 0
    clock.instant = LUNCH
    with store.read() as connection:
        assert [lane.account for lane in due_lanes(connection, clock.now(), clock.machine())] == ["b"]
    assert len(through(door(store, clock, routing=ABC), clock, tmp_path)) == 2
    with store.read() as connection:
        told = explain(connection, "u0", launched(connection, "lunch"), clock.now())
    words = "\n".join(tell(told, "en"))
    assert "Moved on" in words
    assert "its account is stopped, and it goes through another: a → b (sweeper)" in words
    assert "through b" in words
    assert "a → b" in "\n".join(tell(told, "zh"))


def test_only_where_another_takes_the_kind(store: Store, clock: ManualClock) -> None:
    crowd(store, 2, "apns")
    routing = Routing((Carrier("apple", "push", APPLE), Carrier("fcm", "push", frozenset({"token"}))))
    plan(store, clock, routing)
    stop(store, clock, "apple")
    assert leave_stopped(store, clock, routing) == 0
    assert set(through_accounts(store).values()) == {"apple"}


def test_a_step_that_names_its_account_waits_for_it(store: Store, clock: ManualClock) -> None:
    crowd(store, 1)
    plan(store, clock, ABC, {**PUSH[0], "account": "b"})
    stop(store, clock, "b")
    assert leave_stopped(store, clock, ABC) == 0


def test_shares_move_the_stopped_ones_users_alone(store: Store, clock: ManualClock) -> None:
    crowd(store, 40)
    routing = Routing(tuple(Carrier(name, "push", share=1) for name in "abc"))
    plan(store, clock, routing)
    before = through_accounts(store)
    stop(store, clock, "b")
    leave_stopped(store, clock, routing)
    after = through_accounts(store)
    assert {user for user in before if before[user] != after[user]} == {u for u in before if before[u] == "b"}
    assert set(after.values()) == {"a", "c"}
    with store.write() as connection:
        resume_account(connection, "b", clock.now(), "operator test")
    leave_stopped(store, clock, routing)
    assert through_accounts(store) == after


def test_what_a_worker_holds_and_what_has_left_stays(store: Store, clock: ManualClock, tmp_path: Path) -> None:
    crowd(store, 3)
    plan(store, clock, ABC)
    clock.instant = LUNCH
    assert len(through(door(store, clock, routing=ABC), clock, tmp_path, n=1)) == 1
    stop(store, clock, "a")
    assert leave_stopped(store, clock, ABC) == 2
    assert Counter(through_accounts(store).values()) == {"a": 1, "b": 2}


def test_nothing_moves_while_an_older_database_is_restored_or_the_run_is_over(store: Store, clock: ManualClock) -> None:
    crowd(store, 2)
    plan(store, clock, ABC)
    stop(store, clock, "a", reason=RESTORED)
    assert leave_stopped(store, clock, ABC) == 0
    stop(store, clock, "a")
    with store.write() as connection:
        set_campaign_state(connection, "lunch", CampaignState.STOPPED, clock.now(), "operator test")
    assert leave_stopped(store, clock, ABC) == 0


def test_many_move_in_short_transactions_each_with_its_line(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd(store, 50)
    plan(store, clock, ABC)
    monkeypatch.setattr(rerouting, "CHUNK", 7)
    stop(store, clock, "a")
    began = time.perf_counter()
    assert leave_stopped(store, clock, ABC) == 50
    assert time.perf_counter() - began < 2
    with store.read() as connection:
        lines = connection.execute(select(transition.c.message_id).where(transition.c.reason == "next_account:a → b"))
        assert len(set(lines.scalars())) == 50


def test_a_new_address_at_the_gate_goes_to_its_own_account(store: Store, clock: ManualClock, tmp_path: Path) -> None:
    routing = Routing((Carrier("fcm", "push", frozenset({"token"})), Carrier("apple", "push", APPLE)))
    world.person(store, "ada")
    with store.write() as connection:
        at = world.OPENING - timedelta(days=70)
        people.upsert_addresses(connection, [people.AddressRow("ada", "push", "apple-token", at, "apns")], at)
    plan(store, clock, routing)
    assert through_accounts(store) == {"ada": "fcm"}
    clock.instant = LUNCH
    with store.write() as connection:
        first = connection.execute(select(message.c.address_id)).scalar_one()
        people.end_address(connection, first, "removed", clock.now())
    assert through(door(store, clock, routing=routing), clock, tmp_path) == []
    assert through_accounts(store) == {"ada": "apple"}
    [item] = through(door(store, clock, routing=routing), clock, tmp_path)
    assert (item.composed.address, item.composed.address_kind) == ("apple-token", "apns")


def test_an_address_that_no_account_takes_is_no_way_out(store: Store, clock: ManualClock, tmp_path: Path) -> None:
    routing = Routing((Carrier("fcm", "push", frozenset({"token"})),))
    world.person(store, "ada")
    with store.write() as connection:
        at = world.OPENING - timedelta(days=70)
        people.upsert_addresses(connection, [people.AddressRow("ada", "push", "apple-token", at, "apns")], at)
    plan(store, clock, routing)
    clock.instant = LUNCH
    with store.write() as connection:
        first = connection.execute(select(message.c.address_id)).scalar_one()
        people.end_address(connection, first, "removed", clock.now())
    assert through(door(store, clock, routing=routing), clock, tmp_path) == []
    with store.read() as connection:
        assert connection.execute(select(message.c.state, message.c.reason)).all() == [("skipped", "no_account")]


def test_details_go_with_the_address(store: Store, clock: ManualClock, tmp_path: Path) -> None:
    from orchestrator.dispatch.flights import envelope_of

    world.person(store, "ada", push=None)
    details = {"environment": "sandbox", "app": "com.example.lunch"}
    with store.write() as connection:
        at = world.OPENING - timedelta(days=1)
        rows = [people.AddressRow("ada", "push", "apple-token", at, "apns", details=details)]
        people.upsert_addresses(connection, rows, at)
        assert connection.execute(select(address.c.details)).scalar_one() == details
    plan(store, clock, ABC)
    clock.instant = LUNCH
    [item] = through(door(store, clock, routing=ABC), clock, tmp_path)
    envelope = envelope_of(item, timedelta(minutes=5))
    assert (envelope.address_kind, envelope.details) == ("apns", details)


def test_what_is_in_doubt_goes_out_again_by_its_own_accounts_rule(
    store: Store, clock: ManualClock, tmp_path: Path
) -> None:
    """Two accounts of one channel: one provider replaces what it repeats, the other would show it twice."""
    routing = Routing((Carrier("holds", "push", APPLE), Carrier("resends", "push", frozenset({"token"}))))
    crowd(store, 1)
    world.person(store, "ada", push=None)
    with store.write() as connection:
        at = world.OPENING - timedelta(days=1)
        people.upsert_addresses(connection, [people.AddressRow("ada", "push", "apple", at, "apns")], at)
    plan(store, clock, routing)
    clock.instant = LUNCH
    made = door(store, clock, routing=routing)
    assert len(through(made, clock, tmp_path)) == 2
    with store.write() as connection:
        connection.execute(worker.update().values(ended_at=clock.machine()))
    recover_dead(store, clock, {"holds": False, "resends": True})
    with store.read() as connection:
        sql = text("SELECT lane.account, message.state FROM message JOIN lane ON lane.id = message.lane_id")
        assert dict(connection.execute(sql).all()) == {"holds": "unknown", "resends": "planned"}


def test_the_first_account_may_still_report_on_what_it_was_given(store: Store, clock: ManualClock) -> None:
    """Its receipt counts though the message has moved on; of an account that never had it, nothing does."""
    crowd(store, 1)
    plan(store, clock, ABC)
    with store.write() as connection:
        number = connection.execute(select(message.c.id)).scalar_one()
        row = {"message_id": number, "n": 1, "worker_id": 1, "account": "a", "outcome": "retry"}
        connection.execute(attempt.insert().values(**row, started_at=clock.now(), ended_at=clock.now()))
    stop(store, clock, "a")
    assert leave_stopped(store, clock, ABC) == 1
    with store.read() as connection:
        known = {name: _sent(connection, number, name) is not None for name in ("a", "b", "c")}
    assert known == {"a": True, "b": True, "c": False}
