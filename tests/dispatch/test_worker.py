"""The worker's books: connections come back whatever happens, and what is dead moves on to what is fresh alone."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from typing_extensions import override

from orchestrator import metrics
from orchestrator.audience import people
from orchestrator.audience.merging import merge_users
from orchestrator.campaign.version import forget_versions
from orchestrator.channel.base import ANY_KIND, Ambiguity, Envelope, Inquiry, Outcome, OutcomeClass, Payload
from orchestrator.clock import ManualClock
from orchestrator.dispatch import flights
from orchestrator.dispatch import worker as workers
from orchestrator.dispatch.account import Account, open_account
from orchestrator.dispatch.sweep import recover_dead
from orchestrator.dispatch.worker import Worker
from orchestrator.errors import LeaseLostError, StoreLockedError
from orchestrator.ledger.recover import Recovered
from orchestrator.ledger.states import State
from orchestrator.limits.rate import MemoryLimiter
from orchestrator.plan.due import due_runs
from orchestrator.store import Store
from orchestrator.store.tables import address, attempt, message, run, version, worker
from orchestrator.timing.quiet import QuietHours
from tests import world
from tests.dispatch.doors import door, ends, through

LUNCH = world.MONDAY + timedelta(hours=10, minutes=15)


class Silent:
    """A channel that answers when it is told to, or never."""

    channel, provider, ambiguity, timeout = "push", "silent", Ambiguity.RESEND, timedelta(seconds=30)
    kinds = ANY_KIND

    def __init__(self, outcome: Outcome | None = None) -> None:
        self.outcome, self.asked = outcome, asyncio.Event()

    async def send(self, envelope: Envelope) -> Outcome:
        del envelope
        self.asked.set()
        if self.outcome is None:
            await asyncio.sleep(60)
        assert self.outcome is not None
        return self.outcome

    def problems(self, payload: Payload) -> list[str]:
        del payload
        return []

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


class Slow(Silent):
    """A channel that takes a second to answer."""

    @override
    async def send(self, envelope: Envelope) -> Outcome:
        answer = await super().send(envelope)
        await asyncio.sleep(1)
        return answer


def account(channel: Silent) -> Account:
    ticks = iter(range(1, 1_000_000))
    limiter = MemoryLimiter(lambda: float(next(ticks)))
    common = {"rate": 1000.0, "burst": 100, "ramp": timedelta(0), "connections": 10}
    return open_account("fcm", channel, limiter=limiter, monotonic=lambda: 0.0, **common)  # type: ignore[arg-type]


def planned(store: Store, clock: ManualClock) -> None:
    world.plan(store, world.bundle(steps=world.DEFINITION["steps"][:1]), clock)
    clock.instant = LUNCH


def test_a_worker_that_lost_its_lease_gives_its_connections_back(store: Store) -> None:
    clock = ManualClock(world.OPENING)
    for n in range(3):
        world.person(store, f"u{n}")
    planned(store, clock)
    channel = Silent()
    one = account(channel)
    lost = metrics.fence_rejects._value.get()

    async def work() -> None:
        made = Worker(store, clock, QuietHours.load(None), {"fcm": one}, timedelta(seconds=0.3))
        made.start()
        running = asyncio.create_task(made.run())
        await channel.asked.wait()
        assert one.in_flight == 3
        with store.write() as connection:
            connection.execute(worker.update().values(ended_at=clock.machine()))
        with pytest.raises(LeaseLostError):
            await running

    asyncio.run(work())
    assert one.in_flight == 0
    assert metrics.in_flight.labels("fcm")._value.get() == 0
    assert metrics.fence_rejects._value.get() == lost + 1
    with store.read() as connection:
        assert set(connection.execute(select(message.c.state)).scalars()) == {State.SENDING}  # recovery's to judge
    store.close()


@pytest.mark.parametrize("on_the_wire", [False, True])
def test_a_worker_that_breaks_lets_go_at_once(store: Store, on_the_wire: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after its lease: what was claimed goes back, what nobody answered is in doubt (push: sent again)."""
    monkeypatch.setattr(workers, "DRAIN_SECONDS", 0.2)
    clock = ManualClock(world.OPENING)
    world.person(store, "ada")
    planned(store, clock)
    channel = Silent()

    def breaks(step: str) -> None:
        if step == ("beating" if on_the_wire else "composed"):
            raise ValueError(step)

    async def work() -> None:
        made = Worker(
            store, clock, QuietHours.load(None), {"fcm": account(channel)}, timedelta(seconds=1), probe=breaks
        )
        made.start()
        with pytest.raises(ValueError, match=r"beating|composed"):
            await made.run()

    asyncio.run(work())
    assert channel.asked.is_set() is on_the_wire
    with store.read() as connection:
        assert connection.execute(select(worker.c.ended_at)).scalar_one() is not None
    found = recover_dead(store, clock, {"fcm": True})  # machine time stands still: no lease has run out
    assert found == (Recovered(resent=1) if on_the_wire else Recovered(requeued=1))


@pytest.mark.parametrize(
    "problem",
    [
        OperationalError("UPDATE message", None, OSError("the server closed the connection")),
        StoreLockedError("t.db is being written by another program"),
    ],
    ids=["away", "locked"],
)
def test_an_answer_that_the_database_did_not_take_is_written_when_it_is_back(store: Store, problem: Exception) -> None:
    """A worker that cannot settle ends; what it was answered is not in doubt for that."""
    clock, channel, failing = ManualClock(world.OPENING), Silent(Outcome(OutcomeClass.ACCEPTED)), [True]
    world.person(store, "ada")
    planned(store, clock)

    def away(step: str) -> None:
        if step == "written" and failing:
            failing.clear()
            raise problem

    async def work() -> None:
        made = Worker(store, clock, QuietHours.load(None), {"fcm": account(channel)}, probe=away)
        made.start()
        with pytest.raises(type(problem)):
            await made.run()

    asyncio.run(work())
    assert not failing
    with store.read() as connection:
        assert connection.execute(select(message.c.state)).scalar_one() == State.ACCEPTED


def test_what_is_on_the_wire_of_a_worker_that_breaks_is_still_answered(store: Store) -> None:
    clock, channel = ManualClock(world.OPENING), Slow(Outcome(OutcomeClass.ACCEPTED))
    world.person(store, "ada")
    planned(store, clock)

    def breaks(step: str) -> None:
        if step == "beating":
            assert channel.asked.is_set()
            raise ValueError(step)

    async def work() -> None:
        made = Worker(
            store, clock, QuietHours.load(None), {"fcm": account(channel)}, timedelta(seconds=1), probe=breaks
        )
        made.start()
        with pytest.raises(ValueError, match="beating"):
            await made.run()

    asyncio.run(work())
    with store.read() as connection:
        assert connection.execute(select(message.c.state)).scalar_one() == State.ACCEPTED


def test_a_dead_address_does_not_move_on_to_a_stale_one(store: Store) -> None:
    clock = ManualClock(world.OPENING)
    world.person(store, "ada")
    with store.write() as connection:
        old = world.OPENING - timedelta(days=300)
        people.upsert_addresses(connection, [people.AddressRow("ada", "push", "stale", old)], old)
    planned(store, clock)
    one = account(Silent(Outcome(OutcomeClass.DROP_ADDRESS, "UNREGISTERED")))

    async def work() -> None:
        made = Worker(store, clock, QuietHours.load(None), {"fcm": one})
        made.start()
        running = asyncio.create_task(made.run())
        async with asyncio.timeout(10):
            while await asyncio.to_thread(state) not in {State.FAILED, State.SKIPPED}:  # noqa: ASYNC110  # the ledger's
                await asyncio.sleep(0.02)
        made.stop()
        await running

    def state() -> str:
        with store.read() as connection:
            return str(connection.execute(select(message.c.state)).scalar_one())

    asyncio.run(work())
    with store.read() as connection:
        row = connection.execute(select(message)).one()
    assert (row.state, row.reason, row.attempts) == (State.FAILED, "address_dead", 1)
    store.close()


def test_an_address_that_came_with_a_merged_user_is_not_used_twice_in_a_step(store: Store) -> None:
    clock = ManualClock(world.OPENING)
    world.person(store, "ada")
    bob = world.person(store, "bob")
    planned(store, clock)
    with store.write() as connection:  # ada's is with the provider, and bob turns out to be her
        hers = message.c.user_id != bob
        connection.execute(message.update().where(hers).values(state=State.ACCEPTED, sent_at=clock.now()))
    merge_users(store, "bob", "ada", clock, "test")
    one = account(Silent(Outcome(OutcomeClass.DROP_ADDRESS, "UNREGISTERED")))

    async def work() -> None:
        made = Worker(store, clock, QuietHours.load(None), {"fcm": one})
        made.start()
        running = asyncio.create_task(made.run())
        async with asyncio.timeout(10):
            while not running.done() and await asyncio.to_thread(state) != State.FAILED:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        made.stop()
        await running

    def state() -> str:
        with store.read() as connection:
            return str(connection.execute(select(message.c.state).where(message.c.user_id == bob)).scalar_one())

    asyncio.run(work())
    with store.read() as connection:
        row = connection.execute(select(message).where(message.c.user_id == bob)).one()
    assert (row.state, row.reason, row.attempts) == (State.FAILED, "address_dead", 1)
    store.close()


def test_the_gate_gives_no_address_that_another_message_of_the_step_went_to(store: Store, tmp_path: Path) -> None:
    clock = ManualClock(world.OPENING)
    world.person(store, "ada")
    bob = world.person(store, "bob")
    planned(store, clock)
    with store.write() as connection:
        hers = message.c.user_id != bob
        connection.execute(message.update().where(hers).values(state=State.ACCEPTED, sent_at=clock.now()))
        connection.execute(address.update().where(address.c.user_id == bob).values(valid_until=clock.now()))
    merge_users(store, "bob", "ada", clock, "test")
    assert through(door(store, clock), clock, tmp_path) == []
    assert ends(store) == {(State.ACCEPTED, None): 1, (State.SKIPPED, "no_address"): 1}
    store.close()


def test_a_version_that_cannot_be_read_stops_its_own_campaign_alone(store: Store) -> None:
    clock = ManualClock(world.OPENING)
    world.person(store, "ada")
    planned(store, clock)
    clock.instant = world.OPENING
    one_step = world.DEFINITION["steps"][:1]
    world.plan(store, world.bundle(name="other", steps=one_step, priority=90), clock)
    clock.instant = LUNCH
    with store.write() as connection:  # as a release that takes less finds it
        spoilt = version.update().where(version.c.campaign == "other")
        connection.execute(spoilt.values(body='{"format":999}'))
    forget_versions()
    one = account(Silent(Outcome(OutcomeClass.ACCEPTED, provider_id="p")))

    async def work() -> None:
        made = Worker(store, clock, QuietHours.load(None), {"fcm": one})
        made.start()
        running = asyncio.create_task(made.run())
        async with asyncio.timeout(10):
            while not running.done() and await asyncio.to_thread(states) != ["accepted", "planned"]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        made.stop()
        await running

    def states() -> list[str]:
        with store.read() as connection:
            return sorted(connection.execute(select(message.c.state)).scalars())

    asyncio.run(work())
    assert states() == ["accepted", "planned"]
    with store.write() as connection:
        connection.execute(run.delete())
        assert [item.campaign for item, _ in due_runs(connection, world.OPENING)] == ["lunch"]
    store.close()


def test_a_request_that_hangs_is_ended_whatever_its_channel_thinks(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have arrived: a push is sent again, and its connection is free for that."""
    monkeypatch.setattr(flights, "LOOK_EVERY", 0.05)
    clock, channel = ManualClock(world.OPENING), Silent()
    channel.timeout = timedelta(seconds=-0.8)  # and a second
    world.person(store, "ada")
    planned(store, clock)
    one = account(channel)

    async def work() -> None:
        made = Worker(store, clock, QuietHours.load(None), {"fcm": one})
        made.start()
        running = asyncio.create_task(made.run())
        async with asyncio.timeout(10):
            while not await asyncio.to_thread(tried):  # noqa: ASYNC110  # the ledger's news
                await asyncio.sleep(0.02)
        assert one.in_flight == 0
        made.stop()
        await running

    def tried() -> list[tuple[str, str]]:
        with store.read() as connection:
            return [(row.outcome, row.code) for row in connection.execute(select(attempt))]

    asyncio.run(work())
    assert tried() == [("ambiguous", "timeout")]
    with store.read() as connection:
        assert connection.execute(select(message.c.state)).scalar_one() == State.PLANNED


def test_answers_are_written_with_the_next_claim(store: Store) -> None:
    clock, steps = ManualClock(world.OPENING), defaultdict[int, list[str]](list)  # by thread
    for n in range(25):  # of an account with ten connections
        world.person(store, f"u{n}")
    planned(store, clock)
    channel = Silent(Outcome(OutcomeClass.ACCEPTED))

    def told_by(step: str) -> None:
        steps[threading.get_ident()].append(step)

    async def work() -> None:
        quiet, accounts = QuietHours.load(None), {"fcm": account(channel)}
        made = Worker(store, clock, quiet, accounts, probe=told_by)
        made.start()
        running = asyncio.create_task(made.run())
        async with asyncio.timeout(20):
            while await asyncio.to_thread(states) != {State.ACCEPTED}:  # noqa: ASYNC110  # the ledger's news
                await asyncio.sleep(0.02)
        made.stop()
        await running

    def states() -> set[str]:
        with store.read() as connection:
            return set(connection.execute(select(message.c.state)).scalars())

    asyncio.run(work())
    told = [" ".join(step for step in steps[one] if step != "beating") for one in steps if one != threading.get_ident()]
    assert any("settling written claiming settled claimed composed admitted marking marked" in each for each in told)
    assert any("settling written settled" in each for each in told), "what nobody claims after is written by itself"
