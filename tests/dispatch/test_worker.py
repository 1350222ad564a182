"""The worker's books: connections come back whatever happens, and what is dead moves on to what is fresh alone."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from orchestrator import metrics
from orchestrator.audience import people
from orchestrator.audience.merging import merge_users
from orchestrator.campaign.version import forget_versions
from orchestrator.channel.base import Ambiguity, Envelope, Inquiry, Outcome, OutcomeClass, Payload
from orchestrator.clock import ManualClock
from orchestrator.dispatch.account import Account, open_account
from orchestrator.dispatch.worker import Worker
from orchestrator.errors import LeaseLostError
from orchestrator.ledger.states import State
from orchestrator.limits.rate import MemoryLimiter
from orchestrator.plan.due import due_runs
from orchestrator.store import Store
from orchestrator.store.tables import address, message, run, version, worker
from orchestrator.timing.quiet import QuietHours
from tests import world
from tests.dispatch.doors import door, ends, through

LUNCH = world.MONDAY + timedelta(hours=10, minutes=15)


class Silent:
    """A channel that answers when it is told to, or never."""

    channel, provider, ambiguity, timeout = "push", "silent", Ambiguity.RESEND, timedelta(seconds=30)

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
