"""Promises R10: the window closes while messages are queued or retrying, and clocks jump. Nothing leaves outside it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from orchestrator.channel.base import Envelope, Outcome, OutcomeClass
from orchestrator.clock import ManualClock
from orchestrator.dispatch.account import open_account
from orchestrator.dispatch.sweep import sweep
from orchestrator.dispatch.worker import Worker
from orchestrator.ledger.states import State
from orchestrator.limits.rate import MemoryLimiter
from orchestrator.store import Store
from orchestrator.store.tables import message
from orchestrator.timing.quiet import QuietHours
from orchestrator.timing.window import Window
from tests import world
from tests.dispatch.crowd import crowd
from tests.dispatch.recorder import ACCEPTED, Call, Recorder, SteppedClock
from tests.nightly import size

PEOPLE = size(240, 10_000)
OPENS, CLOSES = datetime(2026, 12, 7, 9, 30, tzinfo=UTC), datetime(2026, 12, 7, 10, 45, tzinfo=UTC)
HOUR, DAY, SECOND = timedelta(hours=1), timedelta(days=1), timedelta(seconds=1)
STEPS = (
    OPENS - HOUR,
    OPENS - SECOND,
    OPENS,
    OPENS + HOUR,  # within
    OPENS + 2 * HOUR,  # one hour on: closed
    OPENS + HOUR,  # and back
    OPENS + HOUR + DAY,
    OPENS + HOUR - DAY,
    CLOSES - SECOND,
    CLOSES,
    CLOSES - 2 * SECOND,
    CLOSES + DAY,
    OPENS + 5 * SECOND,  # a day back: a window that was over is open again, as far as anybody can tell
    CLOSES - SECOND / 1000,
)
"""Where the business clock is put, one after the other: steps of an hour and a day, both ways."""
LUNCH = {"steps": world.DEFINITION["steps"][:1], "window": {"local": "10:30-11:45", "spread": "0%"}}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = world.fresh(tmp_path / "t.db")
    crowd(made, PEOPLE)
    world.plan(made, world.bundle(LUNCH), ManualClock(world.OPENING))
    yield made
    made.close()


def outside(calls: Iterable[Call]) -> list[Call]:
    """Calls at which the recipient's wall clock was not inside the window, or that a provider may deliver after it."""
    inside = Window.parse("10:30-11:45").on(OPENS.date(), "Europe/Berlin")
    found = []
    for call in calls:
        current = inside.interval_at(call.at)
        if current is None or call.ttl <= timedelta(0) or call.at + call.ttl > current[1]:
            found.append(call)
    return found


async def played(
    store: Store, clock: SteppedClock, recorder: Recorder, steps: Sequence[datetime] = STEPS, within: float = 0.12
) -> None:
    """A worker at work while its clock is put to one instant after the other.

    ``within``: seconds that it has at each instant within the window, an hour after it opens.
    """
    share = PEOPLE / 8
    one = open_account(
        "fcm",
        recorder,
        rate=share * 4,
        burst=max(int(share / 4), 1),
        ramp=timedelta(0),
        connections=16,
        limiter=MemoryLimiter(time.monotonic),
        monotonic=time.monotonic,
    )
    worker = Worker(store, clock, QuietHours.load(None), {"fcm": one})
    worker.start()
    running = asyncio.create_task(worker.run())
    for instant in steps:
        clock.instant = instant
        await asyncio.sleep(within if instant == OPENS + HOUR else 0.12)
        for _ in range(3):
            clock.instant += SECOND / 10_000  # time also goes on a little, and what waits to be tried again falls due
            await asyncio.sleep(0.04)
    worker.stop()
    await running


def test_no_call_outside_the_window_however_the_clock_jumps(store: Store) -> None:
    tried: Counter[str] = Counter()

    def sometimes(envelope: Envelope) -> Outcome:
        tried[envelope.message_id] += 1
        again = int(envelope.message_id) % 3 == 0 and tried[envelope.message_id] == 1
        return Outcome(OutcomeClass.RETRY, "503", may_have_left=False) if again else ACCEPTED

    clock = SteppedClock(STEPS[0])
    recorder = Recorder(clock, sometimes)
    asyncio.run(played(store, clock, recorder))
    clock.instant = CLOSES + DAY
    sweep(store, clock, {"fcm": False})
    assert outside(recorder.calls) == []
    assert len(recorder.calls) > PEOPLE / 10
    with store.read() as connection:
        rows = connection.execute(select(message.c.state, func.count()).group_by(message.c.state)).all()
    states = {row[0]: row[1] for row in rows}
    assert sum(states.values()) == PEOPLE
    assert set(states) <= {State.ACCEPTED, State.EXPIRED}
    answered = {one for one, n in tried.items() if n > 1 or int(one) % 3}
    assert states[State.ACCEPTED] == len(answered)


def test_what_has_to_wait_for_its_provider_may_not_begin_after_the_window(store: Store) -> None:
    """The lease, a minute, is longer than what is left of the window."""
    last = CLOSES - 5 * SECOND
    left: list[float] = []

    def noted(envelope: Envelope) -> Outcome:
        left.append(envelope.begin_by - time.monotonic())
        return ACCEPTED

    clock = SteppedClock(last)
    asyncio.run(played(store, clock, Recorder(clock, noted), [last]))
    assert left
    assert 0 < max(left) <= 5


def test_a_window_that_is_only_asked_when_planning_is_caught(store: Store) -> None:
    """The naive variant (ThirdSet #7): what is due by its planned time leaves, with a fixed time to live."""
    calls = []
    with store.read() as connection:
        due = connection.execute(select(message.c.id, message.c.due_at)).all()
    for instant in STEPS:
        some = [row for row in due if row.due_at <= instant][:40]
        calls += [Call(str(row.id), instant, 0.0, HOUR) for row in some]
        due = [row for row in due if row not in some]
    assert outside(calls)
