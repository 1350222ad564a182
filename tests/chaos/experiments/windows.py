"""R10: nothing leaves outside its window: it closes while messages wait, and clocks are put forward and back."""

from __future__ import annotations

import signal
import time
from datetime import UTC, datetime, timedelta

from orchestrator.ledger.states import State
from tests.chaos.checker import outside
from tests.chaos.ground import NOT_SHORT, Ground, Told, experiment, held
from tests.chaos.scene import LUNCH, PUSH_ALONE, People, Scene

CLOSING = datetime(2026, 12, 7, 10, 43, tzinfo=UTC)
"""Two minutes before lunch is over in Berlin."""
ON_THE_WAY = 0.15
"""Seconds from the beginning of a request to when the far end writes it down."""
STEPS = (timedelta(hours=1), timedelta(hours=-1), timedelta(days=1), timedelta(days=-1), timedelta())


def _closing(ground: Ground, messages: int, *options: str) -> tuple[Scene, Told]:
    """More messages than can leave in time, one answer in five a 503."""
    seconds = ground.pick(14, 14, 40)
    with ground.scene("sqlite", speed=120 / seconds) as scene:
        scene.begins = CLOSING
        scene.populate(People(push=messages), **PUSH_ALONE)
        scene.far.fault(provider="fcm", kind="status", status=503, probability=0.2, seed=ground.seed, times=None)
        scene.steady()
        victim = scene.start("--daemon", "--connections", "16", "--rate", str(messages / seconds / 3), *options)
        victim.wait_up()
        time.sleep(seconds + 3)
        victim.hit(signal.SIGTERM)
        victim.end()
        taken, timeline = scene.far.accepted(), scene.timeline
        with scene.reader() as store, store.read() as connection:
            held(outside(connection, taken, timeline, ON_THE_WAY))
        found = scene.check(slack=ON_THE_WAY)
        held([f"I4 {found.states}"] * (found.states.get(State.EXPIRED, 0) == 0 or not taken))
        did = f"{messages:,} messages, {len(taken):,} left in time"
        return scene, Told(did, f"{found.states[State.EXPIRED]:,} expired; none left outside", found, found.unsent)


@experiment("R10", "the window closes while messages wait and are tried again", "10,000 messages", sizes=NOT_SHORT)
def closing(ground: Ground) -> Told:
    return _closing(ground, ground.pick(600, 3_000, 10_000))[1]


@experiment("R10", "broken on purpose: a window that is asked when planning alone", catches="I4", sizes=NOT_SHORT)
def planned_window_is_caught(ground: Ground) -> Told:
    return _closing(ground, ground.pick(600, 600, 600), "--broken", "planned_window")[1]


@experiment(
    "R10", "the clock is an hour and a day fast, and slow, from start to start", "±1 h, ±1 day", sizes=NOT_SHORT
)
def stepped(ground: Ground) -> Told:
    each = ground.pick(60, 400, 2_000)
    wrong: list[str] = []
    with ground.scene("sqlite") as scene:
        scene.populate(People(push=each * 2), **PUSH_ALONE)
        for step in STEPS:
            before = len(scene.far.accepted())
            scene.begins = LUNCH + step
            victim = scene.start("--daemon", "--connections", "16", "--rate", str(each))
            victim.wait_up()
            time.sleep(1.5)
            victim.hit(signal.SIGTERM)
            victim.end()
            with scene.reader() as store, store.read() as connection:
                wrong += outside(connection, scene.far.accepted()[before:], scene.timeline, ON_THE_WAY)
        sent = len(scene.far.accepted())
    held(wrong)
    held(["I4 nothing was sent at all"] * (sent == 0))
    return Told(f"{len(STEPS)} clocks, {each * 2:,} messages", f"{sent:,} left, none outside its window")
