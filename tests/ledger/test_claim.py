"""Claims: a suspect comes alone, in its turn, and no claim reads more of a backlog than it takes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, text, update

from orchestrator.clock import ManualClock
from orchestrator.ledger import lease
from orchestrator.ledger.claim import SUSPECT_AFTER, Claimed, _due_sql, claim
from orchestrator.ledger.ids import ids_of_run
from orchestrator.ledger.lease import Holder
from orchestrator.store import Store
from orchestrator.store.tables import message
from tests import world

LATER = world.MONDAY + timedelta(hours=10, minutes=30)


@pytest.fixture
def planned(store: Store) -> Store:
    for n in range(6):
        world.person(store, f"u{n}")
    world.plan(store, world.bundle(steps=world.DEFINITION["steps"][:1]), ManualClock(world.OPENING))
    with store.write() as connection:  # one after the other, where neighbours are due together
        connection.execute(text("UPDATE message SET due_at = due_at + user_id"))
    return store


def take(store: Store, n: int) -> list[Claimed]:
    with store.write() as connection:
        worker = lease.register(connection, host="h", pid=1, machine=LATER, lease=timedelta(seconds=60))
        lane = connection.execute(select(message.c.lane_id).limit(1)).scalar_one()
        return claim(connection, Holder(worker, LATER), lane, n, LATER)


def test_a_suspect_is_claimed_alone_and_the_others_after_it(planned: Store) -> None:
    with planned.write() as connection:
        order = list(connection.execute(select(message.c.id).order_by(message.c.due_at)).scalars())
        connection.execute(update(message).where(message.c.id == order[1]).values(crashes=SUSPECT_AFTER))
    assert [one.id for one in take(planned, 4)] == [order[1]]
    assert sorted(one.id for one in take(planned, 4)) == sorted([order[0], *order[2:5]])
    assert [one.id for one in take(planned, 4)] == [order[5]]


def test_two_suspects_come_one_after_the_other(planned: Store) -> None:
    with planned.write() as connection:
        connection.execute(update(message).values(crashes=SUSPECT_AFTER))
    assert [len(take(planned, 4)) for _ in range(7)] == [1, 1, 1, 1, 1, 1, 0]


EXPLAIN = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN"}
ALONG = {
    "sqlite": "USING INDEX ix_message_due (lane_id=? AND due_at<?)",
    "postgresql": "Index Scan using ix_message_r0_due on message",
}


def test_a_claim_goes_along_the_queue_and_sorts_nothing(planned: Store) -> None:
    kind = planned.dialect
    with planned.read() as connection:
        if kind == "postgresql":
            connection.execute(text("SET LOCAL enable_seqscan = off"))  # six rows are no backlog
            connection.execute(text("SET LOCAL enable_bitmapscan = off"))
        values = {"lane": 1, "now": 0, "n": 10, "machine": 0, **ids_of_run(1)}
        plan = connection.execute(text(f"{EXPLAIN[kind]} SELECT id {_due_sql(kind)}"), values).all()
    steps = [str(row[-1]) for row in plan]
    assert any(ALONG[kind] in step for step in steps), steps
    assert not any("ORDER BY" in step or "Sort" in step for step in steps), steps
