"""Promises R33: pauses under load. No new call two seconds after; resuming loses nothing and repeats nothing.

The same against real providers' servers: ``test_pause_holds_and_resume_sends_everybody_once`` in ``tests/integration``.
"""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from pathlib import Path

from sqlalchemy import func, select

from orchestrator.clock import ManualClock
from orchestrator.dispatch.account import open_account
from orchestrator.dispatch.worker import Worker
from orchestrator.ledger import runs
from orchestrator.ledger.states import CampaignState, State
from orchestrator.limits.rate import MemoryLimiter
from orchestrator.store import Store
from orchestrator.store.tables import message
from orchestrator.timing.quiet import QuietHours
from tests import world
from tests.dispatch.crowd import crowd
from tests.dispatch.recorder import Recorder, SteppedClock
from tests.nightly import size

PAUSES = size(20, 100)
EACH = 30
"""Messages that leave between two pauses, about."""
LUNCH = world.MONDAY + timedelta(hours=10, minutes=15)
BOUND, QUIET = 2.0, 0.06


def put(store: Store, state: CampaignState) -> None:
    with store.write() as connection:
        runs.set_campaign_state(connection, "lunch", state, LUNCH, "operator test")


async def silent(recorder: Recorder) -> float:
    """Wait until nothing is called any more; seconds from now to the last call."""
    began = time.monotonic()
    while True:
        seen = len(recorder.calls)
        await asyncio.sleep(QUIET)
        if len(recorder.calls) == seen:
            return max(recorder.calls[-1].monotonic - began, 0.0) if seen else 0.0


async def paused(store: Store, recorder: Recorder, worker: Worker) -> list[float]:
    """Pause and resume while there is work; how long calls went on after each pause."""
    running, after = asyncio.create_task(worker.run()), []
    for _ in range(PAUSES):
        wanted = len(recorder.calls) + EACH // 2
        while len(recorder.calls) < wanted:  # noqa: ASYNC110  # the recorder's
            await asyncio.sleep(0.005)
        put(store, CampaignState.PAUSED)
        after.append(await silent(recorder))
        put(store, CampaignState.RUNNING)
    deadline = time.monotonic() + 60
    while left(store) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    worker.stop()
    await running
    return after


def left(store: Store) -> int:
    with store.read() as connection:
        waiting = select(func.count()).where(message.c.state.in_([State.PLANNED, State.CLAIMED, State.SENDING]))
        return int(connection.execute(waiting).scalar_one())


def test_pauses_hold_and_lose_nothing(tmp_path: Path) -> None:
    store = world.fresh(tmp_path / "t.db")
    people = PAUSES * EACH
    crowd(store, people)
    steps = world.DEFINITION["steps"][:1]
    world.plan(
        store, world.bundle(steps=steps, window={"local": "10:30-11:45", "spread": "0%"}), ManualClock(world.OPENING)
    )
    recorder = Recorder(SteppedClock(LUNCH))
    one = open_account(
        "fcm",
        recorder,
        rate=1000.0,
        burst=20,
        ramp=timedelta(0),
        connections=4,
        limiter=MemoryLimiter(time.monotonic),
        monotonic=time.monotonic,
    )
    worker = Worker(store, SteppedClock(LUNCH), QuietHours.load(None), {"fcm": one})

    async def main() -> list[float]:
        worker.start()
        return await paused(store, recorder, worker)

    after = asyncio.run(main())
    assert len(after) == PAUSES
    assert max(after) < BOUND, sorted(after)[-3:]
    sent = [call.message for call in recorder.calls]
    assert len(sent) == len(set(sent)) == people
    with store.read() as connection:
        states = connection.execute(select(message.c.state, func.count()).group_by(message.c.state)).all()
    assert [tuple(row) for row in states] == [(State.ACCEPTED, people)]
    store.close()
