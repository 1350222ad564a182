"""Promise R11: whatever is interleaved with whatever, no request begins once a refusal is committed in this process.

Each person is one interleaving: planned, claimed, composed, marked, sent and settled in batches, in a random order of
these steps with their refusal, which comes at any moment or right between two steps of their own message.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from sqlalchemy import Connection, select
from typing_extensions import override

from orchestrator.channel.base import Envelope, Outcome
from orchestrator.clock import ManualClock
from orchestrator.dispatch.account import Account, open_account
from orchestrator.dispatch.compose import Composed
from orchestrator.dispatch.door import Door, Ready, Verdicts
from orchestrator.dispatch.outcome import Answer
from orchestrator.dispatch.worker import Worker
from orchestrator.ledger.claim import Lane, due_lanes
from orchestrator.ledger.ids import parts
from orchestrator.ledger.runs import Run
from orchestrator.ledger.states import RunState, State
from orchestrator.limits.rate import MemoryLimiter
from orchestrator.plan.chunks import chunk_end
from orchestrator.plan.due import due_runs
from orchestrator.policy.resolver import Send
from orchestrator.store import Store
from orchestrator.store.tables import message, run
from orchestrator.timing.quiet import QuietHours
from tests import world
from tests.dispatch.recorder import ACCEPTED, Recorder, SteppedClock
from tests.dispatch.refusals import Refusals, Refused, crowd
from tests.nightly import size

PEOPLE = size(500, 10_000)
THREADED = size(150, 3_000)
LUNCH, CLOSED = datetime(2026, 12, 7, 9, 31, tzinfo=UTC), datetime(2026, 12, 7, 10, 45, tzinfo=UTC)
PUSH, SMS = world.DEFINITION["steps"]
CAMPAIGN = {"steps": [PUSH, {**SMS, "when": {"after": "1m"}}], "window": {"local": "10:30-11:45", "spread": "0%"}}


Begun = list[tuple[float, Refused]]
"""Whom a request was begun for, and when."""


def opened(ticks: Callable[[], float], begun: Begun) -> dict[str, Account]:
    """An account for push and one for SMS, with room for everybody, that write down what begins."""

    def account(name: str, channel: str) -> Account:
        def taken(envelope: Envelope) -> Outcome:
            begun.append((ticks(), (parts(int(envelope.message_id)).user, channel)))
            return ACCEPTED

        wire = Recorder(SteppedClock(LUNCH), taken, channel=channel, kinds=frozenset({"*"}))
        limits = {"limiter": MemoryLimiter(time.monotonic), "monotonic": time.monotonic}
        return open_account(name, wire, rate=1e6, burst=100_000, ramp=timedelta(0), connections=1000, **limits)  # type: ignore[arg-type]

    return {"fcm": account("fcm", "push"), "twilio": account("twilio", "sms")}


def after_refusal(begun: Begun, refusals: Refusals, slack: float = 0.0) -> list[Refused]:
    """Whom a request was begun for after their refusal was committed."""
    return [whom for at, whom in begun if at > refusals.committed.get(whom, float("inf")) + slack]


# --- a deterministic scheduler ----------------------------------------------------------------------------------------


@dataclass
class Theatre:
    """The steps of planning, of several batches and of refusals, each one function; who is next is drawn."""

    store: Store
    chance: random.Random
    naive: bool = False
    clock: ManualClock = field(default_factory=lambda: ManualClock(LUNCH))
    steps: int = 0
    batches: list[Iterator[None]] = field(default_factory=list)
    begun: Begun = field(default_factory=list)

    def __post_init__(self) -> None:
        self.phones = crowd(self.store, PEOPLE)
        self.accounts = opened(lambda: self.steps, self.begun)
        self.refusals = Refusals(self.store, self.clock, self.phones, lambda: self.steps)
        self.worker = Worker(self.store, self.clock, QuietHours.load(None), self.accounts, timedelta(days=9))
        self.worker.start()
        self.left = sorted(self.phones)
        self.chance.shuffle(self.left)
        self.left = self.left[: PEOPLE * 3 // 4]
        """Who refuses some time."""
        world.launch(self.store, world.bundle(CAMPAIGN), world.OPENING)
        self.planning = self._plan()

    def play(self) -> None:
        """Until nothing is left to do."""
        planned = False
        while True:
            self.steps += 1
            what = self.chance.random()
            if not planned and what < 0.3:
                planned = next(self.planning, "over") == "over"
            elif 0.3 <= what < 0.33 and self.left:
                self.refusals.refuse(self.left.pop(), self.chance)
            elif what < 0.6 or not self.batches:
                if not self._claim() and not self.batches and planned:
                    if self.clock.now() >= CLOSED:
                        return
                    self.clock.advance(timedelta(minutes=2))
            else:
                batch = self.chance.choice(self.batches)
                if next(batch, "over") == "over":
                    self.batches.remove(batch)

    def _plan(self) -> Iterator[str]:
        planner = world.planner(self.clock)
        with self.store.write() as connection:
            [(item, bundle)] = due_runs(connection, world.OPENING)
            planner.begin(connection, item, bundle)
        statement = planner.statement(bundle, self.store.dialect, item.local_date)
        while True:
            with self.store.write() as connection:
                high = chunk_end(connection, item.planned_through, 60)
                if high is None:
                    connection.execute(run.update().where(run.c.id == item.id).values(state=RunState.ACTIVE))
                    return
                item = planner.chunk(connection, statement, item, bundle, high)
            yield "chunk"

    def _claim(self) -> bool:
        """A batch of a lane through the door, to be taken further step by step; whether there was one."""
        with self.store.read() as connection:
            lanes = due_lanes(connection, self.clock.now(), self.clock.machine())
        if not lanes:
            return False
        lane = self.chance.choice(lanes)
        self.batches.append(self._batch(lane))
        return True

    def _batch(self, lane: Lane) -> Iterator[None]:
        account, door = self.accounts[lane.account], self.worker._door
        if self.naive:
            door = Trusting(door.store, door.clock, door.quiet, door.worker, door.probe)
        ready, out = door.claim_and_compose(lane, self.chance.randint(1, 8), account.channel)
        yield
        taken_at = self.clock.monotonic()
        leaving = door.mark(lane, ready, out)
        yield
        for item in leaving:
            if self.left and self.chance.random() < 0.15:  # right between the mark and the request
                user = item.composed.message.user_id
                if user in self.left:
                    self.left.remove(user)
                    self.steps += 1
                    self.refusals.refuse(user, self.chance)
            self.steps += 1
            outcome = asyncio.run(self.worker._flights.request(account, item, taken_at))
            yield
            self._settle(account, item, outcome)

    def _settle(self, account: Account, item: Ready, outcome: Outcome) -> None:
        made = item.composed
        answer = Answer(made.message, account.name, outcome, item.marked_at, self.clock.now(), made.payload)
        self.worker._answers.write([answer])


class Trusting(Door):
    """The broken variant: what was claimed leaves; consent was asked as it was planned."""

    @override
    def _judge(
        self, connection: Connection, lane: Lane, run: Run, admitted: object, now: datetime, quota: object
    ) -> Verdicts:
        items: list[Composed] = list(admitted)  # type: ignore[call-overload]
        return [(item, Send(CLOSED)) for item in items]


@pytest.mark.on("sqlite")
def test_nothing_begins_after_a_refusal_in_whatever_order(store: Store) -> None:
    theatre = Theatre(store, random.Random(11))
    theatre.play()
    assert after_refusal(theatre.begun, theatre.refusals) == []
    begun = [whom for _, whom in theatre.begun]
    assert len(begun) > PEOPLE / 2  # it would be easy to send nothing
    assert len(set(begun)) == len(begun)
    with store.read() as connection:
        ends = set(connection.execute(select(message.c.state).where(message.c.run_id == 2)).scalars())
    assert ends == {State.ACCEPTED, State.SKIPPED}


@pytest.mark.on("sqlite")
def test_a_door_that_trusts_the_plan_is_caught(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.dispatch.flights.just_refused", lambda *_: False)
    theatre = Theatre(store, random.Random(11), naive=True)
    theatre.play()
    assert after_refusal(theatre.begun, theatre.refusals)


@pytest.mark.on("sqlite")
def test_a_worker_that_trusts_the_mark_is_caught(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.dispatch.flights.just_refused", lambda *_: False)
    theatre = Theatre(store, random.Random(11))
    theatre.play()
    assert after_refusal(theatre.begun, theatre.refusals)


# --- threads ----------------------------------------------------------------------------------------------------------

SLACK = 0.1
"""Seconds within which a thread may lose its turn between two lines."""
LAG = 0.5
"""How long the machine takes from some marks to their requests."""


def raced(store: Store) -> list[Refused]:
    """A real worker, slow between mark and request now and then, and two threads that refuse; who got it after that."""
    phones = crowd(store, THREADED)
    world.plan(store, world.bundle({**CAMPAIGN, "steps": [PUSH]}), ManualClock(world.OPENING))
    clock, begun = SteppedClock(LUNCH), list[tuple[float, Refused]]()
    refusals, marks = Refusals(store, clock, phones, time.monotonic), count()
    accounts = opened(time.monotonic, begun)
    for account in accounts.values():
        account.connections = max(THREADED // 3, 1)

    def slow(step: str) -> None:
        if step == "marked" and next(marks) % 2 == 0:
            time.sleep(LAG)

    worker = Worker(store, clock, QuietHours.load(None), accounts, probe=slow)
    asyncio.run(_worked(worker, clock, _crews(refusals)))
    return after_refusal(begun, refusals, SLACK)


def _crews(refusals: Refusals) -> list[threading.Thread]:
    """Two threads that refuse for three quarters of the people, one after the other."""
    users = sorted(refusals.phones)
    random.Random(5).shuffle(users)

    def refuse(some: list[int], chance: random.Random) -> None:
        for user in some:
            refusals.refuse(user, chance)
            time.sleep(chance.random() * 3 / THREADED)

    some = users[: len(users) * 3 // 4]
    return [threading.Thread(target=refuse, args=(some[n::2], random.Random(n))) for n in range(2)]


async def _worked(worker: Worker, clock: SteppedClock, threads: list[threading.Thread]) -> None:
    """The worker at work until the threads are done and nothing is owed any more."""
    worker.start()
    running = asyncio.create_task(worker.run())
    for thread in threads:
        thread.start()

    def watched() -> None:
        for thread in threads:
            thread.join()
        while waiting(worker.store):
            clock.instant += timedelta(seconds=2)  # what did not begin is tried again a little later
            time.sleep(0.05)

    async with asyncio.timeout(120):
        await asyncio.to_thread(watched)
    worker.stop()
    await running


def waiting(store: Store) -> bool:
    with store.read() as connection:
        states = set(connection.execute(select(message.c.state)).scalars())
    return bool(states & {State.PLANNED, State.CLAIMED, State.SENDING})


def test_threads_that_refuse_while_a_worker_sends(store: Store) -> None:
    assert raced(store) == []


@pytest.mark.on("sqlite")
def test_threads_catch_a_worker_that_trusts_the_mark(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.dispatch.flights.just_refused", lambda *_: False)
    assert raced(store)
