"""A worker frozen beyond its lease changes nothing any more; one that is asked to end leaves no doubt behind."""

from __future__ import annotations

import random
import signal
import time

import pytest
from sqlalchemy import select

from orchestrator.clock import SystemClock
from orchestrator.ledger.states import State
from orchestrator.store.tables import message, worker
from tests.chaos.experiments.frozen import stands_still
from tests.chaos.scene import People, Scene
from tests.chaos.test_kills import slow
from tests.far_end import wait_for

LEASE = 1.5
SEED = 8


def lease_over(scene: Scene) -> bool:
    with scene.reader() as store, store.read() as connection:
        ends = connection.execute(select(worker.c.lease_until).order_by(worker.c.id.desc())).scalars().first()
    return ends is not None and ends < SystemClock().machine()


def held(scene: Scene, state: State) -> set[str]:
    """The messages that are in a state now."""
    with scene.reader() as store, store.read() as connection:
        return {str(row.id) for row in connection.execute(select(message.c.id).where(message.c.state == state))}


@pytest.mark.parametrize("step", ["claimed", "composed", "marking", "marked", "leaving", "sent", "settling"])
def test_frozen_beyond_its_lease_a_worker_starts_nothing_and_writes_nothing(scene: Scene, step: str) -> None:
    scene.populate(People(sms=24), holdout="0%")
    victim = scene.start("--stop-at", f"{step}:1", "--lease", str(LEASE), "--connections", "12")
    wait_for(lambda: stands_still(victim), f"the victim to stop at {step}", seconds=60)
    wait_for(lambda: lease_over(scene), "its lease to run out", seconds=10)
    marked, taken = held(scene, State.SENDING), {record["message_id"] for record in scene.far.accepted()}
    victim.hit(signal.SIGCONT)
    assert victim.end() == 0, victim.log.read_text()
    assert victim.heard("lease_lost")
    assert bool(marked) == (step in {"marked", "leaving", "sent", "settling"})
    late = {record["message_id"] for record in scene.far.accepted()} & (marked - taken)
    assert not late, "a text message left under a lease that was over"
    found = scene.check()
    assert found.states.get(State.UNKNOWN, 0) >= len(marked)


def test_a_daemon_frozen_under_load_goes_on_with_a_new_worker(scene: Scene) -> None:
    chance = random.Random(SEED)
    scene.speed = 20.0  # so that the sweeper ticks every second
    scene.populate(People(push=200, sms=150))
    slow(scene, 0.5)
    daemon = scene.start("--daemon", "--lease", str(LEASE), "--connections", "24")
    wait_for(lambda: len(scene.far.accepted()) > 30, "the daemon to be busy", seconds=60)
    time.sleep(chance.uniform(0, 0.5))
    daemon.hit(signal.SIGSTOP)
    wait_for(lambda: lease_over(scene), "its lease to run out", seconds=10)
    daemon.hit(signal.SIGCONT)
    wait_for(lambda: not scene.busy(), "the daemon to finish", seconds=90)
    daemon.hit(signal.SIGTERM)
    assert daemon.end() == 0, daemon.log.read_text()
    found = scene.check()
    assert found.on_the_wire > 0
    assert "lease_lost" in daemon.log.read_text()


def test_asked_to_end_under_load_it_ends_soon_and_leaves_no_doubt(scene: Scene) -> None:
    scene.populate(People(push=300, sms=200))
    slow(scene, 1.0)
    daemon = scene.start("--daemon", "--connections", "24")
    wait_for(lambda: len(scene.far.accepted()) > 60, "the daemon to be busy", seconds=60)
    asked = time.monotonic()
    daemon.hit(signal.SIGTERM)
    assert daemon.end() == 0, daemon.log.read_text()
    assert time.monotonic() - asked < 30
    found = scene.check(over=False)
    assert not set(found.states) & {State.CLAIMED, State.SENDING, State.UNKNOWN}
    assert found.states[State.PLANNED] > 100
    scene.far.calm()
    scene.finish()
    found = scene.check()
    assert (found.on_the_wire, found.duplicates_seen, found.unknown) == (0, 0, 0)
    assert set(found.states) <= {State.ACCEPTED, State.HELD_OUT}
