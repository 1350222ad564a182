"""Promises R30: an urgent campaign of a hundred passes one of a hundred thousand that is in the queue before it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from orchestrator.clock import ManualClock
from orchestrator.dispatch.account import open_account
from orchestrator.dispatch.batch import take_batch
from orchestrator.ledger.claim import Lane, due_lanes
from orchestrator.limits.rate import MemoryLimiter
from orchestrator.store import Store
from orchestrator.store.tables import consent, message
from tests import world
from tests.dispatch.crowd import crowd
from tests.dispatch.doors import door
from tests.dispatch.recorder import Recorder
from tests.nightly import size

MANY, URGENT = size(3_000, 100_000), 100
OPENS = world.MONDAY + timedelta(hours=9, minutes=30)
RATE = 50.0
STEP = timedelta(milliseconds=100)


def planned(store: Store, clock: ManualClock) -> None:
    """The large campaign first, to everybody; then the urgent one, to a hundred of them, due ten seconds later."""
    crowd(store, MANY)
    step = [{"channel": "push", "template": "lunch"}]
    window = {"local": "10:30-11:45", "spread": "0%"}
    world.plan(store, world.bundle(name="large", priority=20, steps=step, window=window), clock)
    with store.write() as connection:
        connection.execute(delete(consent).where(consent.c.user_id > URGENT))
    urgent = world.plan(store, world.bundle(name="urgent", priority=90, steps=step, window=window), clock)
    crowd(store, MANY)  # the consents again
    with store.write() as connection:
        later = update(message).where(message.c.run_id == urgent.id).values(due_at=OPENS + timedelta(seconds=10))
        connection.execute(later)


def queue_times(store: Store, clock: ManualClock, *, in_order: bool) -> list[float]:
    """Seconds in the queue of each urgent message, by the ManualClock. ``in_order`` of priority; else of age."""
    recorder = Recorder(clock)
    account = open_account(
        "fcm",
        recorder,
        rate=RATE,
        burst=10,
        ramp=timedelta(0),
        connections=1000,
        limiter=MemoryLimiter(clock.monotonic),
        monotonic=clock.monotonic,
    )
    made, waited = door(store, clock), list[float]()
    clock.instant = OPENS
    while len(waited) < URGENT and clock.instant < OPENS + timedelta(minutes=2):
        for lane in _lanes(store, clock, in_order=in_order):
            room = account.room(lane, 200)
            leaving = take_batch(made, lane, account, room).leaving if room else []
            if lane.campaign == "urgent":
                waited += [(clock.now() - item.composed.message.due_at).total_seconds() for item in leaving]
        clock.advance(STEP)
    return sorted(waited)


def _lanes(store: Store, clock: ManualClock, *, in_order: bool) -> list[Lane]:
    with store.read() as connection:
        lanes = due_lanes(connection, clock.now(), clock.machine())
    return lanes if in_order else sorted(lanes, key=lambda lane: lane.id)


@pytest.mark.on("sqlite")  # for its size
def test_urgent_messages_pass(store: Store, tmp_path: Path) -> None:
    """p99 of the queue time under five seconds; in a single queue by age (the naive variant) they wait for all."""
    clock = ManualClock(world.OPENING)
    planned(store, clock)
    naive = world.fresh(tmp_path / "naive.db")
    planned(naive, ManualClock(world.OPENING))
    waited = queue_times(store, clock, in_order=True)
    assert len(waited) == URGENT
    assert waited[int(URGENT * 0.99) - 1] < 5
    assert waited[-1] <= URGENT / RATE + 1  # nothing but the account's own rate
    behind = queue_times(naive, ManualClock(world.OPENING), in_order=False)
    assert len(behind) < URGENT or behind[int(URGENT * 0.99) - 1] > 5
    naive.close()
