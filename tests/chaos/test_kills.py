"""``kill -9`` once at each step of the door: nothing is lost, no text message goes twice.

At random moments, under load, of several daemons: ``experiments/kills.py``.
"""

from __future__ import annotations

import signal
from datetime import timedelta

import pytest
from sqlalchemy import select

from orchestrator.clock import ManualClock
from orchestrator.dispatch.sweep import recover_dead
from orchestrator.ledger.states import State
from orchestrator.store.tables import attempt, message, run
from tests.chaos.scene import LUNCH, People, Scene

FEW = People(push=8, sms=8, tokyo=1, new_york=1)

NOTHING_LEFT = ["claiming", "claimed", "composed", "admitted", "marking"]
"""Steps of the door before the mark is committed: a death here leaves no doubt about anything."""
IN_DOUBT = ["marked", "leaving", "sent", "settling", "written"]
"""Steps after it, up to the commit of what came of the request."""


def slow(scene: Scene, seconds: float) -> None:
    """Both providers accept at once and take their time to say so."""
    for provider in ("fcm", "twilio"):
        scene.far.fault(provider=provider, kind="slow", seconds=seconds, times=None)


@pytest.mark.parametrize("step", NOTHING_LEFT)
def test_killed_before_the_mark_nobody_notices(scene: Scene, step: str) -> None:
    scene.populate(FEW)
    scene.dies("--die-at", f"{step}:1")
    assert scene.far.accepted() == []
    scene.finish()
    found = scene.check()
    assert (found.on_the_wire, found.duplicates_seen, found.unknown) == (0, 0, 0)
    assert len(scene.far.accepted()) == found.states[State.ACCEPTED] > 10


@pytest.mark.parametrize("step", IN_DOUBT)
def test_killed_after_the_mark_the_push_goes_again_and_the_text_message_is_unknown(scene: Scene, step: str) -> None:
    scene.populate(FEW)
    scene.dies("--die-at", f"{step}:1")
    scene.finish()
    found = scene.check()
    assert found.on_the_wire > 0
    assert found.states[State.ACCEPTED] + found.states.get(State.HELD_OUT, 0) + found.unknown == 16


def test_killed_with_requests_on_the_wire(scene: Scene) -> None:
    scene.populate(FEW)
    slow(scene, 2.0)
    scene.dies("--die-at", "leaving:12", "--delay", "0.5")
    taken = len(scene.far.accepted())
    assert taken > 0
    scene.far.calm()
    scene.finish()
    found = scene.check()
    assert found.on_the_wire >= taken
    assert found.duplicates_seen > 0
    assert found.unknown > 0


@pytest.mark.parametrize("step", ["settled", "beating", "ending"])
def test_killed_between_batches_in_a_heartbeat_and_at_the_very_end(scene: Scene, step: str) -> None:
    scene.populate(FEW)
    slow(scene, 0.6)
    scene.dies("--die-at", f"{step}:1", "--lease", "1")
    scene.finish()
    scene.check()


@pytest.mark.parametrize("planned", [False, True])
def test_killed_before_every_commit_in_turn(scene: Scene, planned: bool) -> None:
    """Recovery, the run and each chunk of its plan, a worker's registration, claims, marks, settlements, the end."""
    scene.populate(People(push=30, sms=30) if planned else People(push=520), plan=planned)  # 520: two chunks
    for commit in range(1, 14):
        victim = scene.start("--die-at", f"commit:{commit}", "--connections", "300")
        if victim.end() == 0:
            break
        assert victim.end() == -signal.SIGKILL, victim.log.read_text()
        scene.kills += 1
    assert scene.kills >= 8
    scene.finish()
    found = scene.check()
    assert found.on_the_wire > 0


def test_killed_in_the_middle_of_planning_it_goes_on_where_it_was(scene: Scene) -> None:
    scene.populate(People(push=1800), plan=False)
    marks = []
    for chunk in (1, 1, 2):
        scene.dies("--die-at", f"planning:{chunk}")
        with scene.reader() as store, store.read() as connection:
            row = connection.execute(select(run)).one()
        assert row.state == "planning"
        marks.append(row.planned_through)
    assert 0 < marks[0] < marks[1] < marks[2] <= 1800
    assert scene.far.accepted() == []  # a run becomes claimable when its plan is complete
    scene.finish()
    found = scene.check()
    assert (found.duplicates_seen, found.unknown) == (0, 0)
    assert sum(found.states.values()) == 1800


def test_a_text_message_accepted_and_not_settled_is_unknown_for_good(scene: Scene) -> None:
    scene.populate(People(sms=5))
    scene.dies("--die-at", "settling:1")
    taken = {record["message_id"] for record in scene.far.accepted()}
    assert taken
    scene.finish()
    scene.finish()
    found = scene.check()
    assert found.unknown >= 1
    assert found.duplicates_seen == 0
    with scene.reader() as store, store.read() as connection:
        rows = connection.execute(select(message).where(message.c.state == State.UNKNOWN)).all()
        notes = connection.execute(select(attempt).where(attempt.c.code == "worker_died")).all()
    assert {row.reason for row in rows} == {"ambiguous"}
    assert {str(row.id) for row in rows} == {str(row.message_id) for row in notes}
    assert taken & {str(row.id) for row in rows}


def test_a_push_in_doubt_found_after_its_deadline_is_unknown_and_not_expired(scene: Scene) -> None:
    """Expired would say that it certainly did not leave."""
    scene.populate(People(push=1), holdout="0%")
    scene.dies("--die-at", "sent:1")
    assert len(scene.far.accepted()) == 1
    with scene.writer() as store:
        late = ManualClock(LUNCH + timedelta(hours=3))
        assert recover_dead(store, late, {"push": True, "sms": False}, others=True).unknown == 1
    assert scene.check().states == {State.UNKNOWN: 1}


def test_what_kills_its_worker_three_times_is_put_aside_and_everybody_else_is_served(scene: Scene) -> None:
    scene.populate(People(push=30, sms=10), holdout="0%")
    while (victim := scene.start("--allergy", "P13")).end() != 0:
        assert victim.end() == -signal.SIGKILL, victim.log.read_text()
        scene.kills += 1
        assert scene.kills <= 3
    found = scene.check()
    assert (scene.kills, found.poisoned) == (3, 1)
    assert found.states[State.FAILED] == 1
    assert found.states[State.ACCEPTED] + found.unknown == 39  # unknown: it was on the wire when the worker died
    assert "Hello P13" not in {record["title"] for record in scene.far.accepted()}


def test_a_push_that_kills_its_worker_on_the_way_out_is_not_sent_for_ever(scene: Scene) -> None:
    scene.populate(People(push=1), holdout="0%")
    while (victim := scene.start("--die-at", "sent:1")).end() != 0:
        assert victim.end() == -signal.SIGKILL, victim.log.read_text()
        scene.kills += 1
        assert scene.kills <= 5
    found = scene.check()
    assert (scene.kills, found.unknown, len(scene.far.accepted())) == (5, 1, 5)
