"""A plan that somebody interrupts: an operator's stop, the end of the process, a kill before the first chunk."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from orchestrator.audience import people
from orchestrator.campaign.version import Bundle
from orchestrator.clock import ManualClock
from orchestrator.ledger import runs
from orchestrator.ledger.runs import Run, read_run
from orchestrator.ledger.states import CampaignState, RunState
from orchestrator.plan.due import due_runs
from orchestrator.store import Store
from orchestrator.store.tables import lane, member
from tests import world

MANY = 1200
"""More than two chunks of the first sizes."""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(world.OPENING)


def due(store: Store, clock: ManualClock) -> tuple[Run, Bundle]:
    world.launch(store, world.bundle(), clock.now())
    with store.write() as connection:
        [found] = due_runs(connection, clock.now())
    return found


def crowd(store: Store) -> None:
    with store.write() as connection:
        rows = [people.UserRow(f"u{n}", "x", "en", "Europe/Berlin", "DE") for n in range(MANY)]
        people.upsert_users(connection, rows, world.OPENING)


def members(store: Store) -> int:
    with store.read() as connection:
        return connection.execute(select(func.count()).select_from(member)).scalar_one()


def test_a_campaign_stopped_while_it_is_planned_stays_stopped(store: Store, clock: ManualClock) -> None:
    crowd(store)
    item, found = due(store, clock)

    def stop(_count: int) -> None:
        with store.write() as connection:
            runs.set_campaign_state(connection, "lunch", CampaignState.STOPPED, clock.now(), "operator t")

    done = world.planner(clock).plan(store, item, found, stop)
    assert done.state is RunState.STOPPED
    assert 0 < members(store) < MANY
    world.launch(store, world.bundle(), clock.now())  # launching again does not bring it back
    with store.write() as connection:
        assert due_runs(connection, clock.now()) == []
        assert read_run(connection, item.id).state is RunState.STOPPED


def test_a_plan_that_is_interrupted_goes_on_where_it_was(store: Store, clock: ManualClock) -> None:
    crowd(store)
    item, found = due(store, clock)

    def end(_count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.planner(clock).plan(store, item, found, end)
    assert 0 < members(store) < MANY
    with store.read() as connection:
        left = read_run(connection, item.id)
    assert world.planner(clock).plan(store, left, found).audience == members(store) == MANY


def test_a_run_begun_before_there_was_anybody_is_taken_up_again(store: Store, clock: ManualClock) -> None:
    item, found = due(store, clock)
    made = world.planner(clock)
    with store.write() as connection:
        assert made.begin(connection, item, found)  # no users: no slots; and then it dies
    assert made.plan(store, item, found).state is RunState.ACTIVE
    with store.read() as connection:
        assert connection.execute(select(func.count()).select_from(lane)).scalar_one() == 2
