"""Two workers on one PostgreSQL, and a ``kill -9`` of one of them: the other goes on, nothing is lost or sent twice."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from orchestrator.dispatch.sweep import recover_dead
from orchestrator.ledger.states import State
from orchestrator.store.tables import attempt, message, worker
from tests.chaos.scene import People, Scene, Victim
from tests.chaos.test_kills import slow
from tests.far_end import far_end, wait_for
from tests.postgres import Postgres

pytestmark = pytest.mark.postgresql

LEASE = 2.0
RESEND = {"fcm": True, "twilio": False}


@pytest.fixture
def scene(tmp_path: Path, postgres: Postgres) -> Iterator[Scene]:
    with far_end(tmp_path / "far") as far, postgres.database(empty=True) as url:
        made = Scene(tmp_path, far, address=url)
        try:
            yield made
        finally:
            made.close()


def pair(scene: Scene) -> tuple[Victim, Victim]:
    one, two = (scene.start("--connections", "24", "--lease", str(LEASE)) for _ in range(2))
    one.wait_up()
    two.wait_up()
    return one, two


def finished(scene: Scene) -> bool:
    """Sweep, as a third process would; whether nothing is left to do."""
    with scene.writer() as store:
        recover_dead(store, scene.timeline.clock, RESEND)
    time.sleep(0.1)
    return not scene.busy()


def shares(scene: Scene) -> Counter[int]:
    """Requests by worker."""
    with scene.reader() as store, store.read() as connection:
        return Counter(connection.execute(select(attempt.c.worker_id)).scalars())


def sending(scene: Scene, pid: int) -> int:
    """How many messages a process has on their way."""
    with scene.reader() as store, store.read() as connection:
        held = select(message.c.id).join(worker, worker.c.id == message.c.worker_id)
        return len(connection.execute(held.where(worker.c.pid == pid, message.c.state == State.SENDING)).all())


def test_two_workers_share_the_work_and_the_death_of_one_is_made_good(scene: Scene) -> None:
    scene.speed = 10.0  # a text message waits a minute for the push before it
    scene.populate(People(push=400, sms=250, both=30))
    slow(scene, 0.25)
    one, other = pair(scene)
    wait_for(lambda: len(scene.far.accepted()) > 120, "both to be busy", seconds=30)
    wait_for(lambda: sending(scene, one.process.pid) > 5, "the first to have requests on the wire", seconds=30)
    one.hit(signal.SIGKILL)
    assert one.end() == -signal.SIGKILL
    scene.kills += 1
    wait_for(lambda: finished(scene), "the other to finish", seconds=60)
    assert other.end(30) == 0, other.log.read_text()
    found = scene.check()
    assert found.on_the_wire > 0
    assert found.states[State.ACCEPTED] + found.states[State.HELD_OUT] + found.unknown == 710
    assert min(shares(scene).values()) > 40


def test_two_workers_that_live_send_everything_once(scene: Scene) -> None:
    scene.populate(People(push=400, sms=200), holdout="0%")
    slow(scene, 0.2)  # or the first one up may be done before the other is
    for victim in pair(scene):
        assert victim.end(60) == 0, victim.log.read_text()
    found = scene.check()
    assert found.states == {State.ACCEPTED: 600}
    assert (found.duplicates_seen, found.unknown, len(scene.far.accepted())) == (0, 0, 600)
    assert len(shares(scene)) == 2
