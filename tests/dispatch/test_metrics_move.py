"""What the dashboard and the alerts watch moves when what it tells of happens, and by so much."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from orchestrator.channel.base import Outcome, OutcomeClass
from orchestrator.clock import ManualClock
from orchestrator.dispatch.account import Account
from orchestrator.dispatch.worker import Worker
from orchestrator.ledger.claim import due_lanes
from orchestrator.ledger.mark import Exit
from orchestrator.ledger.receipts import record_receipt
from orchestrator.ledger.states import State
from orchestrator.store import Store
from orchestrator.store.tables import campaign, message
from orchestrator.timing.quiet import QuietHours
from tests import world
from tests.cli.test_quarantine import poison
from tests.daemon.test_watched import here
from tests.dispatch.doors import channel, door
from tests.dispatch.test_worker import Silent, account, planned

pytestmark = pytest.mark.on("sqlite")


class Moved:
    """How much a metric has moved since this was made."""

    def __init__(self) -> None:
        self.before = here()

    def by(self, name: str, *labels: str) -> float:
        return here().get(name, {}).get(labels, 0.0) - self.before.get(name, {}).get(labels, 0.0)


def dispatch(store: Store, clock: ManualClock, one: Account, asked: asyncio.Event) -> None:
    async def work() -> None:
        made = Worker(store, clock, QuietHours.load(None), {"fcm": one}, timedelta(days=9))
        made.start()
        running = asyncio.create_task(made.run())
        await asyncio.wait_for(asked.wait(), 20)
        made.stop()
        await asyncio.wait_for(running, 20)

    asyncio.run(work())


def test_a_message_that_leaves_and_its_receipt(store: Store) -> None:
    """It leaves 15 minutes after it was due, with a code that no table has; the callback comes ten minutes later."""
    clock, silent = ManualClock(world.OPENING), Silent(Outcome(OutcomeClass.ACCEPTED, "newly", uncharted=True))
    world.person(store, "ada")
    planned(store, clock)
    with store.read() as connection:
        [due] = connection.execute(select(message.c.due_at)).scalars()
    clock.instant = due + timedelta(minutes=15)
    moved = Moved()
    dispatch(store, clock, account(silent), silent.asked)
    assert moved.by("queue_age_seconds_count", "push") == 1
    assert moved.by("queue_age_seconds_sum", "push") == pytest.approx(900, abs=1)
    assert moved.by("attempts_total", "fcm", "push", "accepted") == 1
    assert moved.by("unknown_codes_total", "silent") == 1
    assert moved.by("messages_total", "push", "accepted") == 1
    with store.write() as connection:
        [number] = connection.execute(select(message.c.id)).scalars()
        receipt = {
            "provider": "silent",
            "provider_id": "p",
            "status": "delivered",
            "state": State.DELIVERED,
            "code": "",
        }
        at = clock.now() + timedelta(minutes=10)
        assert record_receipt(connection, message_id=number, at=at, **receipt)  # type: ignore[arg-type]
    assert moved.by("webhook_lag_seconds_count", "silent") == 1
    assert moved.by("webhook_lag_seconds_sum", "silent") == pytest.approx(600, abs=1)


def test_messages_that_are_held_and_dropped(store: Store, tmp_path: Path) -> None:
    """One has no words, which drops it; then the campaign is paused while the others are at the door."""
    clock = ManualClock(world.OPENING)
    for name in ("ada", "bob"):
        world.person(store, name)
    planned(store, clock)
    moved, made, opened = Moved(), door(store, clock), channel(tmp_path, "push")
    with store.read() as connection:
        [lane] = due_lanes(connection, clock.now(), clock.machine())
    ready, out = made.claim_and_compose(lane, 10, opened)
    with store.write() as connection:
        connection.execute(campaign.update().values(state="paused"))
    dropped = Exit(ready[0].message.id, State.SKIPPED, "template: no name")
    assert made.mark(lane, ready[1:], [*out, dropped]) == []
    assert moved.by("holds_total", "push", "paused") == 1
    assert moved.by("skips_total", "push", "template") == 1
    assert moved.by("messages_total", "push", "skipped") == 1
    asyncio.run(opened.close())


def test_a_message_that_kills_its_workers(store: Store) -> None:
    moved = Moved()
    poison(store, ManualClock(world.OPENING))
    assert moved.by("poisoned_total", "push") == 1
    assert moved.by("lease_steals_total") == 3
