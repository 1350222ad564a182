"""Wake-ups: heard in every process, missed without harm."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from uuid import uuid4

import pytest

from orchestrator.channel.base import Outcome, OutcomeClass
from orchestrator.clock import ManualClock
from orchestrator.daemon import shared_bell
from orchestrator.daemon.bell import Bell
from orchestrator.daemon.shared_bell import SharedBell
from orchestrator.dispatch import worker as workers
from orchestrator.dispatch.worker import Worker
from orchestrator.store import Store
from orchestrator.timing.quiet import QuietHours
from tests import world
from tests.dispatch.test_worker import LUNCH, Silent, account
from tests.valkey import Valkey, valkey_server

SECONDS = 10.0


@pytest.fixture
def server() -> Iterator[Valkey]:
    with valkey_server() as made:
        yield made


async def heard(bell: Bell, ring: Callable[[], object], *, before: Callable[[], object] = lambda: None) -> float:
    """Seconds until a ring is heard, tried until the listener is there."""
    came = asyncio.Event()
    listening = asyncio.create_task(bell.listen(came.set))
    try:
        async with asyncio.timeout(SECONDS):
            while not came.is_set():  # until it has subscribed, it hears nothing
                await asyncio.to_thread(ring)
                await asyncio.sleep(0.05)
            await asyncio.to_thread(before)
            came.clear()
            began = time.monotonic()
            while not came.is_set():
                await asyncio.to_thread(ring)
                await asyncio.sleep(0.05)
            return time.monotonic() - began
    finally:
        listening.cancel()


def test_it_is_heard_in_another_process(valkey: str) -> None:
    name = uuid4().hex
    code = f"from orchestrator.daemon.shared_bell import SharedBell; SharedBell({valkey!r}, {name!r}).ring()"
    asyncio.run(heard(SharedBell(valkey, name), lambda: subprocess.run([sys.executable, "-c", code], check=True)))


def test_of_another_deployment_it_is_not(valkey: str) -> None:
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(heard(SharedBell(valkey, "one"), SharedBell(valkey, "other").ring), 1))


def test_without_redis_it_is_heard_in_its_own(valkey: str) -> None:
    bell = Bell()
    bell.ring()  # nobody listens yet
    asyncio.run(heard(bell, bell.ring))


def test_a_server_that_goes_and_comes_back_is_followed(server: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_bell, "AGAIN_SECONDS", 0.05)
    elsewhere = SharedBell(server.address, "x")

    def away_and_back() -> None:
        server.stop()
        elsewhere.ring()  # lost, and nobody minds
        server.start()

    asyncio.run(heard(SharedBell(server.address, "x"), elsewhere.ring, before=away_and_back))


def test_an_idle_worker_looks_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left alone it would look after a minute; asked, it does at once, and nothing is sent twice."""
    monkeypatch.setattr(workers, "IDLE_AT_MOST", 60.0)
    clock, channel, bell = ManualClock(world.OPENING), Silent(Outcome(OutcomeClass.ACCEPTED)), Bell()
    world.person(store, "ada")

    async def work() -> None:
        made = Worker(store, clock, QuietHours.load(None), {"fcm": account(channel)}, timedelta(days=30))
        made.start()
        running = [asyncio.create_task(made.run()), asyncio.create_task(bell.listen(made.wake))]
        await asyncio.sleep(0.3)  # it has looked, found nothing, and sleeps
        await asyncio.to_thread(_plan, store, clock)
        assert not channel.asked.is_set()
        threading.Thread(target=bell.ring).start()
        await asyncio.wait_for(channel.asked.wait(), SECONDS)
        made.stop()
        await asyncio.wait_for(running[0], SECONDS)
        running[1].cancel()

    asyncio.run(work())


def _plan(store: Store, clock: ManualClock) -> None:
    world.plan(store, world.bundle(steps=world.DEFINITION["steps"][:1]), clock)
    clock.instant = LUNCH
