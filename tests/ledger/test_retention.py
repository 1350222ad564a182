"""Forgetting what is old: all of what may go, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, func, insert, select, text, update

from orchestrator.ledger import retention
from orchestrator.ledger.ids import RUN_SHIFT, message_id
from orchestrator.ledger.retention import forget_events, forget_messages
from orchestrator.ledger.states import RunState, State
from orchestrator.store import Store
from orchestrator.store.blocks import BLOCK, blocks, keep_blocks
from orchestrator.store.tables import attempt, enrolled, event, member, message, receipt, run, transition
from tests import world

NOW = world.MONDAY
KEEP, DAY = timedelta(days=100), timedelta(days=1)
OLD, YOUNG = NOW - KEEP - DAY, NOW - KEEP + DAY


def over(store: Store, number: int, ended: datetime | None = OLD, **more: Any) -> None:
    """A run with one member, who was sent a message and of whom all is known."""
    state = RunState.ACTIVE if ended is None else RunState.DONE
    day = {"local_date": f"2026-{number}", "as_of": OLD, "created_at": OLD, "closes_at": ended or NOW}
    own = message_id(number, 1, 1)
    with store.write() as connection:
        row = {"id": number, "campaign": "c", "version": "v", "state": state, "finished_at": ended, "audience": 1}
        connection.execute(insert(run).values({**row, **day}))
        who = {"run_id": number, "user_id": 1}
        say = {"arm": "all", "held_out": False}
        member_row = {**who, **say, "decision": "planned", "zone_key": "UTC", "country": "DE"}
        connection.execute(insert(member).values(member_row))
        connection.execute(insert(enrolled).values(**who, event_id=1))
        sent = {"lane_id": number << 4 | 1, "address_id": 1, "state": State.ACCEPTED, "due_at": OLD, "deadline": OLD}
        message_row = {**who, **say, **sent, "id": own, "step": 1, "state_at": OLD, **more}
        connection.execute(insert(message).values(message_row))
        tried = {"worker_id": 1, "account": "fcm", "started_at": OLD, "outcome": "accepted"}
        connection.execute(insert(attempt).values(message_id=own, n=1, **tried))
        said = {"provider": "fcm", "provider_id": str(own), "status": "ok", "received_at": OLD}
        connection.execute(insert(receipt).values(message_id=own, **said))
        connection.execute(insert(transition).values(message_id=own, at=OLD, new="accepted", actor="worker 1"))


def there(store: Store) -> Mapping[str, set[int]]:
    """The runs that each table still has something of."""
    with store.read() as connection:
        of = {
            table.name: {number >> RUN_SHIFT for number in connection.execute(select(table.c.message_id)).scalars()}
            for table in (attempt, receipt, transition)
        }
        of |= {
            table.name: set(connection.execute(select(table.c.run_id)).scalars())
            for table in (member, message, enrolled)
        }
    return of


def forgotten(store: Store) -> set[int]:
    with store.read() as connection:
        return set(connection.execute(select(run.c.id).where(run.c.forgotten_at.is_not(None))).scalars())


def everything(runs: set[int]) -> dict[str, set[int]]:
    return dict.fromkeys(("attempt", "receipt", "transition", "member", "message", "enrolled"), runs)


@pytest.mark.on("sqlite")
def test_runs_that_are_over_for_long_go_and_those_that_wait_or_are_young_stay(store: Store) -> None:
    over(store, 1)
    over(store, 2, ended=YOUNG)
    over(store, 3, ended=None)
    over(store, 4, state=State.UNKNOWN)
    over(store, 5, state=State.SENDING, worker_id=7)
    over(store, 6, ended=NOW - 3 * KEEP)
    with store.write() as connection:
        connection.execute(update(run).where(run.c.id == 6).values(closes_at=YOUNG))  # its late answers may still come
    assert forget_messages(store, NOW, KEEP) == 1
    assert there(store) == everything({2, 3, 4, 5, 6})
    assert forgotten(store) == {1}
    assert forget_messages(store, NOW, KEEP) == 0


@pytest.mark.on("sqlite")
def test_a_large_run_goes_in_short_transactions_over_several_rounds(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "CHUNK", 2)
    monkeypatch.setattr(retention, "AT_A_TIME", 7)
    over(store, 1)
    with store.write() as connection:
        for user in range(2, 12):
            row = {"arm": "all", "held_out": False, "decision": "skipped", "zone_key": "UTC", "country": "DE"}
            connection.execute(insert(member).values(run_id=1, user_id=user, **row))
    rounds = 1
    while not forget_messages(store, NOW, KEEP):
        rounds += 1
        assert forgotten(store) == {1}  # or reports and `doctor` would count what is left
        assert rounds < 10
    assert rounds == 3
    assert there(store) == everything(set())
    assert forget_messages(store, NOW, KEEP) == 0


def _fill(store: Store) -> None:
    """Three blocks: all old; one run young; and the one of the newest run."""
    for number in (1, BLOCK - 1, BLOCK, 2 * BLOCK - 1, 2 * BLOCK):
        over(store, number, ended=YOUNG if number == BLOCK else OLD)
    keep_blocks(store)


@pytest.mark.on("postgresql")
def test_a_block_goes_as_a_whole_once_all_its_runs_may(store: Store) -> None:
    _fill(store)
    assert forget_messages(store, NOW, KEEP) == 2
    assert there(store) == everything({BLOCK, 2 * BLOCK - 1, 2 * BLOCK})
    with store.read() as connection:
        assert blocks(connection)[0].first == BLOCK
    assert forgotten(store) == {1, BLOCK - 1}
    assert forget_messages(store, NOW, KEEP) == 0
    assert forget_messages(store, NOW + 2 * DAY, KEEP) == 2


@pytest.mark.on("postgresql")
@pytest.mark.parametrize("state", [State.PLANNED, State.UNKNOWN, State.SENDING])
def test_a_block_with_something_that_waits_stays(store: Store, state: State) -> None:
    _fill(store)
    with store.write() as connection:
        held = {"worker_id": 7} if state is State.SENDING else {}
        connection.execute(update(message).where(message.c.run_id == 1).values(state=state, **held))
    assert forget_messages(store, NOW, KEEP) == 0
    assert there(store)["message"] == {1, BLOCK - 1, BLOCK, 2 * BLOCK - 1, 2 * BLOCK}


@pytest.mark.on("postgresql")
def test_a_block_that_is_being_read_waits_for_the_next_round_and_keeps_nobody_waiting(store: Store) -> None:
    _fill(store)
    with store.read() as report:
        report.execute(select(func.count()).select_from(message))
        assert forget_messages(store, NOW, KEEP) == 0
        assert there(store)["message"] == {1, BLOCK - 1, BLOCK, 2 * BLOCK - 1, 2 * BLOCK}
    assert forget_messages(store, NOW, KEEP) == 2


@pytest.mark.on("postgresql")
def test_what_lies_in_no_block_goes_row_by_row(store: Store) -> None:
    over(store, 1000)
    over(store, 1001, ended=YOUNG)
    with store.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM message_rest")).scalar_one() == 2
    assert forget_messages(store, NOW, KEEP) == 1
    assert there(store) == everything({1001})


def _happened(connection: Connection, number: int, at: datetime) -> None:
    row = {"user_id": 1, "name": "app_open", "at": at, "received_at": at, "source_id": f"e{number}"}
    connection.execute(insert(event).values(id=number, **row))


def test_old_events_go_once_a_day_whatever_order_they_came_in(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "EVENTS_CHUNK", 10)
    with store.write() as connection:
        for number in range(1, 60):
            _happened(connection, number, OLD if number % 3 else YOUNG)
        _happened(connection, 100_000, OLD)  # numbers are not dense
        _happened(connection, 100_001, YOUNG)
    assert forget_events(store, NOW, KEEP) == 41
    with store.write() as connection:
        assert set(connection.execute(select(event.c.at)).scalars()) == {YOUNG}
        _happened(connection, 7, OLD)
    assert forget_events(store, NOW + DAY - timedelta(seconds=1), KEEP) == 0  # not so soon
    assert forget_events(store, NOW + DAY, KEEP) == 1


def test_events_are_looked_through_a_round_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "EVENTS_CHUNK", 10)
    monkeypatch.setattr(retention, "AT_A_TIME", 2)
    with store.write() as connection:
        for number in range(1, 47):
            _happened(connection, number, OLD)
    assert [forget_events(store, NOW, KEEP) for _ in range(4)] == [20, 20, 5, 0]


def test_an_events_number_is_not_given_out_again_after_it_was_forgotten(store: Store) -> None:
    """Whoever has read up to a number would never see the event that came under it."""
    world.person(store, "ada")
    for day in (1, 2):
        world.did(store, "ada", "app_open", OLD + day * timedelta(minutes=1))
    with store.read() as connection:
        seen = connection.execute(select(func.max(event.c.id))).scalar_one()
    assert forget_events(store, NOW, KEEP) == 1, "the newest stays until there is a newer one"
    world.did(store, "ada", "app_open", NOW)
    with store.read() as connection:
        fresh = connection.execute(select(event.c.at).where(event.c.id > seen)).scalars().all()
    assert fresh == [NOW]
    assert forget_events(store, NOW + DAY, KEEP) == 1
