"""What the database can do for nobody ends a worker, and is no message's doing: it gives back what it had claimed."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DataError, OperationalError

from orchestrator.clock import ManualClock
from orchestrator.dispatch import worker as workers
from orchestrator.dispatch.sweep import recover_dead
from orchestrator.dispatch.worker import Worker
from orchestrator.ledger.states import State
from orchestrator.store import Store
from orchestrator.store.tables import message
from tests import world
from tests.dispatch.breaking import BROKE, crowd, worker
from tests.dispatch.test_worker import Silent, account


@pytest.mark.parametrize(
    ("problem", "crashes"),
    [(BROKE, 0), (DataError("a statement", None, ValueError("a NUL in a name")), 3), (ValueError("a bug"), 3)],
    ids=["the database's doing", "the data's", "a bug"],
)
def test_what_the_database_can_do_for_nobody_sets_no_message_aside(
    store: Store, problem: Exception, crashes: int
) -> None:
    """A missing right, a standby that only reads: mended within the hour, and nothing of the campaign is lost."""
    clock = ManualClock(world.OPENING)
    crowd(store, clock, 1)

    def breaks(step: str) -> None:
        if step == "marking":
            raise problem

    for _ in range(3):
        made = worker(store, clock, account(Silent()))
        made.probe = breaks

        async def work(made: Worker = made) -> None:
            made.start()
            with pytest.raises(type(problem)):
                await made.run()

        asyncio.run(work())
        recover_dead(store, clock, {})
    with store.read() as connection:
        found = connection.execute(select(message.c.state, message.c.crashes, message.c.attempts)).one()
    assert tuple(found) == (State.FAILED if crashes else State.PLANNED, crashes, 0)


def test_a_database_that_stays_away_for_a_while_is_asked_again_until_what_was_claimed_is_given_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "AWAY_SECONDS", 0.02)
    clock, away = ManualClock(world.OPENING), [True] * 5
    crowd(store, clock, 1)
    made = worker(store, clock, account(Silent()))

    def breaks(step: str) -> None:
        if step == "marking":
            raise BROKE
        if step == "ending" and away:
            away.pop()
            raise BROKE

    made.probe = breaks

    async def work() -> None:
        made.start()
        with pytest.raises(OperationalError):
            await made.run()

    asyncio.run(work())
    assert not away
    recover_dead(store, clock, {})
    with store.read() as connection:
        assert connection.execute(select(message.c.state, message.c.crashes)).one() == (State.PLANNED, 0)
