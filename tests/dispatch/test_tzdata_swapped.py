"""Promises R10: the time zone data changes while messages wait. What leaves is inside the window by the new data."""

from __future__ import annotations

import asyncio
import sys
import zoneinfo
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from orchestrator.clock import ManualClock
from orchestrator.dispatch.worker import IDLE_AT_MOST
from orchestrator.store import Store
from orchestrator.store.tables import message
from orchestrator.timing.window import Window
from tests import world
from tests.dispatch.crowd import crowd
from tests.dispatch.recorder import ACCEPTED, Call, Recorder, SteppedClock
from tests.dispatch.test_clock_steps import HOUR, LUNCH, OPENS, PEOPLE, STEPS, outside, played

pytestmark = pytest.mark.on("sqlite")  # the gate asks no database what time it is somewhere


def _forget() -> None:
    """Everything that was computed from the data, as a new process would."""
    ZoneInfo.clear_cache()
    names = ("orchestrator.timing.", "orchestrator.policy.", "orchestrator.plan.")
    for module in [one for name, one in sys.modules.items() if name.startswith(names)]:
        for thing in vars(module).values():
            if hasattr(thing, "cache_clear"):
                thing.cache_clear()


@contextmanager
def swapped(folder: Path, zone: str, clock_of: str) -> Iterator[None]:
    """A release of the data in which ``zone`` has gone over to the clock of another."""
    path = folder / zone
    path.parent.mkdir(parents=True)
    path.write_bytes(files("tzdata.zoneinfo").joinpath(clock_of).read_bytes())
    zoneinfo.reset_tzpath(to=(str(folder),))
    _forget()
    try:
        yield
    finally:
        zoneinfo.reset_tzpath(to=())
        _forget()


@pytest.fixture
def planned(store: Store) -> Store:
    """People in Berlin, with a message planned for 10:30 there by the data as it is: 09:30 UTC."""
    crowd(store, PEOPLE)
    world.plan(store, world.bundle(LUNCH), ManualClock(world.OPENING))
    return store


@pytest.mark.parametrize("clock_of", ["Europe/Helsinki", "Europe/Lisbon", "Asia/Kathmandu", "America/Vancouver"])
def test_nothing_leaves_outside_the_window_by_the_new_data(planned: Store, tmp_path: Path, clock_of: str) -> None:
    clock = SteppedClock(STEPS[0])
    recorder = Recorder(clock, lambda _: ACCEPTED)
    with swapped(tmp_path / "data", "Europe/Berlin", clock_of):
        inside = Window.parse(LUNCH["window"]["local"]).on(OPENS.date(), "Europe/Berlin")
        asyncio.run(played(planned, clock, recorder, within=2 * IDLE_AT_MOST))  # or a worker may not look in time
        assert outside(recorder.calls) == []
        reached = any(instant in inside for instant in STEPS if OPENS <= instant < OPENS + HOUR * 5 / 4)
    assert bool(recorder.calls) == reached  # where the old times and the new window meet, it is sent
    with planned.read() as connection:
        assert connection.execute(select(message.c.id)).all() != []


def test_going_by_the_planned_times_is_caught(planned: Store, tmp_path: Path) -> None:
    """The naive variant: what was planned by the old data leaves at its due time, until its deadline."""
    with planned.read() as connection:
        due = connection.execute(select(message.c.id, message.c.due_at, message.c.deadline)).all()
    calls = [Call(str(row.id), row.due_at, 0.0, row.deadline - row.due_at) for row in due]
    assert outside(calls) == []
    with swapped(tmp_path / "data", "Europe/Berlin", "Europe/Lisbon"):
        assert len(outside(calls)) == len(calls)
