"""Workers whose database breaks under them, and what there is for them to send."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from orchestrator.clock import ManualClock
from orchestrator.dispatch.account import Account
from orchestrator.dispatch.worker import Worker
from orchestrator.store import Store
from orchestrator.store.tables import message
from orchestrator.timing.quiet import QuietHours
from tests import world
from tests.dispatch.test_worker import planned

BROKE = OperationalError("a statement", None, OSError("the server closed the connection"))


def crowd(store: Store, clock: ManualClock, people: int) -> None:
    """So many with a push that is due."""
    for n in range(people):
        world.person(store, f"u{n}")
    planned(store, clock)


def worker(store: Store, clock: ManualClock, one: Account, lease: float = 60.0) -> Worker:
    return Worker(store, clock, QuietHours.load(None), {"fcm": one}, timedelta(seconds=lease))


def told(store: Store) -> Counter[str]:
    """How many messages are in each state."""
    with store.read() as connection:
        return Counter(connection.execute(select(message.c.state)).scalars())


async def until(done: Callable[[], object], what: str) -> None:
    async with asyncio.timeout(20):
        while not await asyncio.to_thread(done):  # noqa: ASYNC110  # the ledger's news
            await asyncio.sleep(0.02)
    assert done(), what
