"""A receipt and the end of its attempt that are written at once: neither sees the other, and the sweeper sees both."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, select

from orchestrator.clock import ManualClock
from orchestrator.daemon.ticks import Ticks
from orchestrator.daemon.wiring import Parts
from orchestrator.ledger.receipts import LATEST, apply_kept, record_receipt
from orchestrator.ledger.states import State
from orchestrator.plan.planner import Planner
from orchestrator.policy.carriers import Routing
from orchestrator.store import Store
from orchestrator.store.tables import message
from orchestrator.timing.quiet import QuietHours
from tests import world


@pytest.fixture
def sending(store: Store) -> int:
    """A message on its way."""
    world.person(store, "ada")
    world.plan(store, world.bundle(steps=world.DEFINITION["steps"][:1]), ManualClock(world.OPENING))
    with store.write() as connection:
        connection.execute(message.update().values(state=State.SENDING))
        return int(connection.execute(select(message.c.id)).scalar_one())


def ticks(store: Store) -> Ticks:
    clock, quiet = ManualClock(world.OPENING), QuietHours.load(None)
    return Ticks(store, Parts(clock, quiet, Planner(clock, quiet, Routing.plain({})), {}, {}, {}))


def delivered(connection: Connection, number: int, name: str = "r1") -> None:
    record_receipt(
        connection,
        message_id=number,
        provider="fcm",
        provider_id=name,
        status="delivered",
        state=State.DELIVERED,
        code="",
        at=world.OPENING,
    )


def accept(connection: Connection, number: int) -> None:
    """As a settle does."""
    connection.execute(message.update().values(state=State.ACCEPTED))
    apply_kept(connection, [number])


def state(store: Store) -> str:
    with store.read() as connection:
        return str(connection.execute(select(message.c.state)).scalar_one())


@pytest.mark.on("postgresql")
def test_a_receipt_that_crosses_the_end_of_its_attempt_is_applied(store: Store, sending: int) -> None:
    sweeper = ticks(store)
    sweeper.sweeper()
    with store.write() as settle:
        accept(settle, sending)
        with store.write() as callback:
            delivered(callback, sending)
    assert state(store) == State.ACCEPTED  # both are committed, and neither saw the other
    sweeper.sweeper()
    assert state(store) == State.DELIVERED


@pytest.mark.on("postgresql")
def test_a_receipt_that_was_long_on_its_way_to_disk_is_found_behind_later_ones(store: Store, sending: int) -> None:
    sweeper = ticks(store)
    with store.write() as settle:
        accept(settle, sending)
        with store.write() as callback:
            delivered(callback, sending)
            with store.write() as another:
                delivered(another, sending + 1, "r2")  # of nobody
            sweeper.sweeper()  # sees the later one alone
    assert state(store) == State.ACCEPTED
    sweeper.sweeper()
    assert state(store) == State.DELIVERED


def test_who_begins_to_sweep_looks_through_the_latest(store: Store, sending: int) -> None:
    """Whoever did before may have ended in between."""
    with store.write() as connection:
        delivered(connection, sending)
        connection.execute(message.update().values(state=State.ACCEPTED))
    assert LATEST > 1
    ticks(store).sweeper()
    assert state(store) == State.DELIVERED
