"""Batches that overlap: one more taker while there is work for it, and never a connection too many."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from datetime import timedelta

import pytest
from sqlalchemy import Engine, event, select
from typing_extensions import override

from orchestrator.channel.base import Envelope, Outcome, OutcomeClass
from orchestrator.clock import ManualClock
from orchestrator.dispatch.worker import TAKERS, Worker
from orchestrator.ledger.states import State
from orchestrator.store import Store
from orchestrator.store.tables import message
from orchestrator.timing.quiet import QuietHours
from tests import world
from tests.dispatch.test_worker import Silent, Slow, account, planned

PEOPLE = 60


class Busy(Silent):
    """Takes a moment, and counts how many requests it has at once."""

    now, most = 0, 0

    @override
    async def send(self, envelope: Envelope) -> Outcome:
        del envelope
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.005)
        self.now -= 1
        return Outcome(OutcomeClass.ACCEPTED)


class Meeting:
    """A probe that holds a thread which has composed a batch, but for the very first, until another has one as well."""

    def __init__(self) -> None:
        self.met, self._here, self._batches = set[int](), threading.Barrier(2), 0

    def __call__(self, step: str) -> None:
        self._batches += step == "composed"
        if step == "composed" and self._batches > 1 and not self.met:
            try:
                self._here.wait(2)
            except threading.BrokenBarrierError:
                return
            self.met.add(threading.get_ident())


def sent_by(worker: Worker, store: Store) -> None:
    """Run it until everybody was sent to."""

    async def work() -> None:
        worker.start()
        running = asyncio.create_task(worker.run())
        async with asyncio.timeout(30):
            while not running.done() and set(await asyncio.to_thread(states, store)) != {State.ACCEPTED}:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        worker.stop()
        async with asyncio.timeout(10):
            await running

    asyncio.run(work())


def states(store: Store) -> Mapping[str, int]:
    with store.read() as connection:
        found = list(connection.execute(select(message.c.state)).scalars())
    return {state: found.count(state) for state in found}


@pytest.mark.parametrize("connections", [1, 3, 10])
def test_batches_that_overlap_use_no_connection_twice(store: Store, connections: int) -> None:
    clock, channel = ManualClock(world.OPENING), Busy()
    for n in range(PEOPLE):
        world.person(store, f"u{n}")
    planned(store, clock)
    one = account(channel)
    one.connections = connections
    sent_by(Worker(store, clock, QuietHours.load(None), {"fcm": one}, timedelta(seconds=60)), store)
    assert states(store) == {State.ACCEPTED: PEOPLE}
    assert 1 <= channel.most <= connections
    assert (one.in_flight, one.kept) == (0, 0)


def test_a_server_is_asked_for_one_batch_while_another_is_composed(store: Store) -> None:
    """On SQLite there is one writer, and one interpreter that both would wait for: nothing would be won."""
    clock, meeting = ManualClock(world.OPENING), Meeting()
    for n in range(PEOPLE):
        world.person(store, f"u{n}")
    planned(store, clock)
    one = account(Silent(Outcome(OutcomeClass.ACCEPTED)))
    sent_by(Worker(store, clock, QuietHours.load(None), {"fcm": one}, timedelta(seconds=60), meeting), store)
    assert len(meeting.met) == (TAKERS[store.dialect] if TAKERS[store.dialect] > 1 else 0)


@pytest.mark.on("postgresql")
def test_a_helper_whose_rounds_are_over_at_once_keeps_nobody_from_the_loop(store: Store) -> None:
    """As when the clock is found to be wrong while both are busy: then neither asks the database for anything."""
    clock, asked = ManualClock(world.OPENING), dict[object, int]()
    for n in range(PEOPLE):
        world.person(store, f"u{n}")
    planned(store, clock)
    made = Worker(store, clock, QuietHours.load(None), {"fcm": account(Busy())}, timedelta(seconds=60))

    def wavering() -> bool:
        asker = asyncio.current_task()
        asked[asker] = asked.get(asker, 0) + 1
        if asked[asker] > 2_000:
            made.stop()
        return asker is next(iter(asked))

    made.steady = wavering
    sent_by(made, store)
    assert len(asked) == TAKERS[store.dialect]
    assert max(asked.values()) <= 2_000


def test_where_there_is_no_room_nobody_asks_when_something_is_due(store: Store) -> None:
    """It is due already: connections are waited for."""
    clock = ManualClock(world.OPENING)
    for n in range(2):
        world.person(store, f"u{n}")
    planned(store, clock)
    one, asked = account(Slow(Outcome(OutcomeClass.ACCEPTED))), list[str]()
    one.connections = 1

    def hear(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked.extend([statement] * ("min(message.due_at)" in statement))

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        sent_by(Worker(store, clock, QuietHours.load(None), {"fcm": one}, timedelta(seconds=60)), store)
    finally:
        event.remove(Engine, "before_cursor_execute", hear)
    assert states(store) == {State.ACCEPTED: 2}
    assert len(asked) < 20  # a second each on the wire, in which there are a hundred looks
