"""A worker whose database breaks under it: what did not leave is not in doubt, and what was answered is written."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event, func, select
from sqlalchemy.exc import IntegrityError, OperationalError

from orchestrator.channel.base import Outcome, OutcomeClass
from orchestrator.clock import ManualClock
from orchestrator.dispatch import worker as workers
from orchestrator.dispatch.batch import take_batch
from orchestrator.dispatch.outcome import Answer
from orchestrator.dispatch.sweep import recover_dead
from orchestrator.dispatch.worker import Worker
from orchestrator.errors import LeaseLostError
from orchestrator.ledger.claim import due_lanes
from orchestrator.ledger.states import State
from orchestrator.store import Store, tables
from orchestrator.store.tables import attempt, transition
from tests import world
from tests.dispatch.breaking import BROKE, crowd, told, until, worker
from tests.dispatch.doors import door
from tests.dispatch.test_worker import Silent, Slow, account


def waits(made: Worker) -> None:
    """Hold the database's thread until there is more work for it."""
    end = time.monotonic() + 20
    while made._threads._work_queue.empty():
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.001)


@pytest.mark.parametrize("problem", [BROKE, ValueError("a bug")], ids=["away", "bug"])
def test_a_beat_that_fails_before_a_claim_leaves_nothing_in_doubt(
    store: Store, problem: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim behind it marks; that leaves as well, or nobody would know that it did not."""
    monkeypatch.setattr(workers, "LANES_HOLD", 60.0)  # claim upon claim, with nothing asked between them
    monkeypatch.setitem(workers.TAKERS, "postgresql", 1)  # one thread, so that the order is known
    clock, channel, steps = ManualClock(world.OPENING), Silent(Outcome(OutcomeClass.ACCEPTED)), list[str]()
    monkeypatch.setattr(workers, "BATCH", 10)
    crowd(store, clock, 25)
    one = account(channel)
    one.connections = 30  # the next batch has room, whatever is answered by then
    made = worker(store, clock, one, lease=0.3)

    def breaks(step: str) -> None:
        if step == "marked" and "marked" not in steps:
            waits(made)  # the beat is next
        if step == "beating" and "marked" in steps and "beating" not in steps:
            steps.append(step)
            waits(made)  # and then the next claim
            raise problem
        steps.append(step)

    made.probe = breaks

    async def work() -> None:
        made.start()
        if problem is BROKE:
            running = asyncio.create_task(made.run())
            await until(lambda: told(store) == {State.ACCEPTED: 25}, "one beat that failed ends no worker")
            made.stop()
            await running
        else:
            with pytest.raises(ValueError, match="a bug"):
                await made.run()

    asyncio.run(work())
    assert "beating" in steps
    assert told(store)[State.ACCEPTED] >= 20
    assert set(told(store)) <= {State.ACCEPTED, State.PLANNED}


def test_what_has_no_turn_is_given_back_before_anything_is_marked(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a database which goes away then leaves nothing `sending` that never left."""
    monkeypatch.setitem(workers.TAKERS, "postgresql", 1)  # one batch of all of them
    clock, channel = ManualClock(world.OPENING), Silent(Outcome(OutcomeClass.ACCEPTED))
    crowd(store, clock, 8)
    one = account(channel)
    taking = one.limiter.take
    one.limiter.take = lambda keys, n: taking(keys, min(n, 3))  # type: ignore[method-assign]
    made = worker(store, clock, one)

    async def work() -> None:
        made.start()
        with broken(store, "SET state = 'planned', worker_id = NULL"), pytest.raises(OperationalError):
            await made.run()

    asyncio.run(work())
    assert set(told(store)) <= {State.PLANNED, State.ACCEPTED}


@contextmanager
def broken(store: Store, statement: str) -> Iterator[None]:
    """The connection breaks at the first statement with these words in it."""
    left = [True]

    def breaks(_c: Any, _cursor: Any, sql: str, *_: Any) -> None:
        if left and statement in sql:
            left.clear()
            raise BROKE

    event.listen(store.writer_engine, "before_cursor_execute", breaks)
    try:
        yield
    finally:
        event.remove(store.writer_engine, "before_cursor_execute", breaks)
    assert not left, "never came to that"


@pytest.mark.parametrize("step", ["settling", "marking"])
@pytest.mark.parametrize("taken", [True, False], ids=["committed", "rolled back"])
def test_a_commit_whose_answer_was_lost_is_not_written_twice_and_leaves_nothing_in_doubt(
    store: Store, step: str, taken: bool
) -> None:
    """The server may have committed before the connection broke: the answers are kept, and asked for first."""
    clock, channel = ManualClock(world.OPENING), Silent(Outcome(OutcomeClass.RETRY, "busy", may_have_left=False))
    crowd(store, clock, 2)
    made = worker(store, clock, account(channel))
    made.probe = losing(store, taken, step)

    async def work() -> None:
        made.start()
        with pytest.raises(OperationalError):
            await made.run()

    asyncio.run(work())
    assert channel.asked.is_set() is (step == "settling")
    recover_dead(store, clock, {})
    assert told(store) == {State.PLANNED: 2}, "none is in doubt"
    tries = 0 if (step, taken) == ("marking", False) else 2
    with store.read() as connection:
        ended = select(tables.worker.c.ended_at).where(tables.worker.c.id == made.id)
        assert connection.execute(ended).scalar_one() is not None, "its drain came to its end"
        assert connection.execute(select(func.count()).select_from(attempt)).scalar_one() == tries
        turns = select(func.count()).select_from(transition).where(transition.c.old == State.SENDING)
        assert connection.execute(turns).scalar_one() == tries


def test_an_attempt_that_another_worker_wrote_is_not_taken_for_ones_own(store: Store) -> None:
    clock = ManualClock(world.OPENING)
    crowd(store, clock, 1)
    made, other = worker(store, clock, account(Silent())), door(store, clock)
    with store.read() as connection:
        [lane] = due_lanes(connection, clock.now(), clock.machine())

    async def work() -> None:
        made.start()
        made.accounts["fcm"].room(lane, 1)  # its bucket was empty
        [ready] = take_batch(made._door, lane, made.accounts["fcm"], 5).leaving
        taken = {"message_id": ready.composed.message.id, "n": 1, "worker_id": other.worker, "account": "fcm"}
        with store.write() as connection:
            row = {**taken, "started_at": clock.now(), "outcome": "accepted"}
            connection.execute(attempt.insert().values(row))
        answer = Answer(ready.composed.message, "fcm", Outcome(OutcomeClass.ACCEPTED), clock.now(), clock.now())
        made._answers.settler.again = True
        with pytest.raises(IntegrityError), store.write() as connection:
            made._answers.settler.settle(connection, made._door.holder(), [answer])

    asyncio.run(work())
    assert told(store) == {State.SENDING: 1}


def test_the_answer_to_a_second_attempt_is_written_beside_one_to_the_first_that_was_written_before(
    store: Store,
) -> None:
    """The commit of the first was heard and not answered, and the other taker sent the message again meanwhile."""
    clock = ManualClock(world.OPENING)
    crowd(store, clock, 1)
    made, answers = worker(store, clock, account(Silent())), list[Answer]()
    with store.read() as connection:
        [lane] = due_lanes(connection, clock.now(), clock.machine())

    def settle(*some: Answer) -> None:
        with store.write() as connection:
            made._answers.settler.settle(connection, made._door.holder(), some)

    async def work() -> None:
        made.start()
        made.accounts["fcm"].room(lane, 1)  # its bucket was empty
        for kind in (OutcomeClass.RETRY, OutcomeClass.ACCEPTED):
            clock.advance(timedelta(seconds=2))
            [ready] = take_batch(made._door, lane, made.accounts["fcm"], 5).leaving
            answers.append(Answer(ready.composed.message, "fcm", Outcome(kind), clock.now(), clock.now()))
            if kind is OutcomeClass.RETRY:
                settle(*answers)

    asyncio.run(work())
    made._answers.settler.again = True
    settle(*answers)
    assert told(store) == {State.ACCEPTED: 1}
    with store.read() as connection:
        assert connection.execute(select(attempt.c.n, attempt.c.outcome).order_by(attempt.c.n)).all() == [
            (1, "retry"),
            (2, "accepted"),
        ]


def losing(store: Store, taken: bool, step: str) -> Callable[[str], None]:
    """A probe: the first commit after ``step`` gets no answer; ``taken``: it was heard."""
    due, over = threading.Event(), threading.Event()

    def lost(connection: Connection) -> None:
        if due.is_set() and not over.is_set():
            over.set()
            driver: Any = connection.connection.driver_connection
            driver.commit() if taken else driver.rollback()
            raise BROKE

    event.listen(store.writer_engine, "commit", lost)
    return lambda at: due.set() if at == step else None


def test_a_worker_that_broke_holds_on_to_its_lease_while_it_is_answered(store: Store) -> None:
    """It may be answered for longer than what was left of its lease."""
    clock, channel = ManualClock(world.OPENING), Slow(Outcome(OutcomeClass.ACCEPTED))
    crowd(store, clock, 1)
    made, beats = worker(store, clock, account(channel), lease=0.3), list[bool]()
    broken = asyncio.Event()

    def breaks() -> bool:
        broken.set()
        raise ValueError("a bug")

    made.probe = lambda step: beats.append(broken.is_set()) if step == "beating" else None

    async def work() -> None:
        made.start()
        running = asyncio.create_task(made.run())
        await channel.asked.wait()
        made.steady = breaks
        with pytest.raises(ValueError, match="a bug"):
            await running

    asyncio.run(work())
    assert told(store) == {State.ACCEPTED: 1}
    assert beats.count(True) >= 3, "a second of waiting, a beat every tenth of one"


@pytest.mark.parametrize("stopped", [True, False], ids=["asked to end", "broke"])
def test_what_is_answered_while_the_database_is_away_is_written_when_it_is_back(
    store: Store, stopped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "AWAY_SECONDS", 0.02)
    clock, channel, away = ManualClock(world.OPENING), Slow(Outcome(OutcomeClass.ACCEPTED)), [True] * 5
    crowd(store, clock, 1)
    made = worker(store, clock, account(channel))

    def breaks(step: str) -> None:
        if step == "settling" and away:
            away.pop()
            raise BROKE

    made.probe = breaks

    async def work() -> None:
        made.start()
        running = asyncio.create_task(made.run())
        await channel.asked.wait()
        if stopped:
            made.stop()
            await running
        else:
            with pytest.raises(OperationalError):
                await running

    asyncio.run(work())
    assert not away
    assert told(store) == {State.ACCEPTED: 1}


@pytest.mark.on("postgresql")
def test_a_statement_that_hangs_when_the_lease_is_lost_keeps_nobody_else_from_the_loop(store: Store) -> None:
    """A worker is not over before its threads are; but the API, and who asks who leads, are on the same loop."""
    clock, others, seen = ManualClock(world.OPENING), threading.Event(), list[bool]()
    crowd(store, clock, 1)
    made = worker(store, clock, account(Silent(Outcome(OutcomeClass.ACCEPTED))), lease=0.3)

    async def work() -> None:
        loop = asyncio.get_running_loop()

        def hangs(step: str) -> None:
            if step == "claimed":
                clock.advance(timedelta(minutes=1))  # the next beat is too late
                loop.call_soon_threadsafe(loop.call_later, 0.5, others.set)
                seen.append(others.wait(4))

        made.probe = hangs
        made.start()
        with pytest.raises(LeaseLostError):
            await made.run()

    asyncio.run(work())
    assert seen == [True], "others had their turn while the statement hung"
