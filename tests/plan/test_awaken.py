"""The tick that brings waiting messages forward: killed, repeated, begun late, and never in the way of anybody."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select, text

from orchestrator.audience.events import IncomingEvent, record_events
from orchestrator.campaign.version import read_bundle
from orchestrator.ledger.runs import read_run
from orchestrator.plan import awaken as ticks
from orchestrator.plan.awaken import awaken
from orchestrator.plan.members import step_messages
from orchestrator.store import Store
from orchestrator.store.tables import message, run, transition
from tests import world
from tests.dispatch.journey import LUNCH, MINUTE, ROUTING, Journey, ada, bundle

WAIT = {"wait_for": "cart_updated", "within": "3h"}


def waiting(store: Store, tmp_path: Path, people: int = 0) -> Journey:
    """Ada, and others, who wait for an event."""
    ada(store)
    for n in range(people):
        world.person(store, f"p{n}", phone=f"+49152{n:06}")
    made = Journey(store, tmp_path, bundle(WAIT, channels=("push", "sms")))
    made.begin()
    made.clock.instant = LUNCH + 10 * MINUTE
    return made


def woken(store: Store) -> int:
    """How many changes say that a message was brought forward."""
    with store.read() as connection:
        query = select(func.count()).select_from(transition).where(transition.c.reason == "woken:cart_updated")
        return int(connection.execute(query).scalar_one())


def due(store: Store) -> dict[tuple[datetime, str | None], int]:
    """The second step's messages by due time and reason."""
    query = select(message.c.due_at, message.c.reason, func.count()).where(
        message.c.step == 2, message.c.sent_at.is_(None)
    )
    with store.read() as connection:
        return {(at, why): n for at, why, n in connection.execute(query.group_by(message.c.due_at, message.c.reason))}


def cursor(store: Store) -> int | None:
    with store.read() as connection:
        return connection.execute(text("SELECT max(event_id) FROM event_cursor")).scalar()


def test_what_is_heard_twice_wakes_once(store: Store, tmp_path: Path) -> None:
    made = waiting(store, tmp_path)
    made.did("cart_updated")
    assert [awaken(store, made.clock) for _ in range(3)] == [1, 0, 0]
    made.did("cart_updated", ago=5)  # an earlier one, heard of later: it is on its way already
    assert awaken(store, made.clock) == 0
    assert due(store) == {(LUNCH + 10 * MINUTE, None): 1}


class _Killed(BaseException):
    pass


def test_killed_in_the_middle_it_begins_there_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = waiting(store, tmp_path, people=5)
    for name in ("ada", *(f"p{n}" for n in range(5))):
        made.did("cart_updated", name=name)
    monkeypatch.setattr(ticks, "PAGE", 2)
    kept = ticks.wake
    for turn in range(3):
        turns = iter(range(turn))

        def dies(*asked: object, turns: Iterator[int] = turns) -> int:
            done = kept(*asked)  # type: ignore[arg-type]
            if next(turns, None) is None:
                raise _Killed
            return done

        monkeypatch.setattr(ticks, "wake", dies)
        with pytest.raises(_Killed):
            awaken(store, made.clock)
        assert woken(store) == 2 * turn  # whole pages, with what was made of them
    monkeypatch.setattr(ticks, "wake", kept)
    awaken(store, made.clock)
    assert woken(store) == 6
    assert due(store) == {(LUNCH + 10 * MINUTE, None): 6}


def test_a_daemon_that_never_ticked_hears_what_came_in_since_the_run_was_planned(store: Store, tmp_path: Path) -> None:
    made = waiting(store, tmp_path)
    with store.write() as connection:
        connection.execute(text("DELETE FROM event_cursor"))
    made.did("cart_updated")
    now = made.clock.now()
    later = [IncomingEvent(f"x{n % 7}", "app_open", now, f"later-{n}") for n in range(1200)]
    with store.write() as connection:
        record_events(connection, later, now)
    made.clock.instant += 60 * MINUTE
    assert awaken(store, made.clock) == 1


def test_what_is_planned_after_it_happened_is_due_at_once(store: Store, tmp_path: Path) -> None:
    """A run that is planned again under a new version: nobody hears of the event once more."""
    made = waiting(store, tmp_path)
    made.did("cart_updated", ago=4)
    awaken(store, made.clock)
    with store.write() as connection:
        connection.execute(delete(message).where(message.c.step == 2))
        item = read_run(connection, connection.execute(select(run.c.id)).scalar_one())
        campaign = read_bundle(connection, item.version).campaign
        step, carriers = campaign.steps[1], ROUTING.of("sms", None)
        step_messages(connection, item, campaign, step, (0, 10**6), made.clock.now(), carriers)
    assert due(store) == {(LUNCH + 6 * MINUTE, None): 1}
    assert woken(store) == 2


def test_nobody_listens_when_nobody_waits(store: Store, tmp_path: Path) -> None:
    made = waiting(store, tmp_path)
    made.did("cart_updated")
    made.go(15)
    assert cursor(store) is not None
    made.go(60)  # everything is sent: the run is done
    assert cursor(store) is None
    assert awaken(store, made.clock) == 0


def test_an_open_judged_otherwise_later_does_not_leave(store: Store, tmp_path: Path) -> None:
    ada(store)
    made = Journey(store, tmp_path, bundle({"wait_for": "opened", "within": "3h"}, channels=("push", "sms")))
    made.begin()
    made.clock.instant = LUNCH + 10 * MINUTE
    made.touch(1)
    assert awaken(store, made.clock) == 1
    with store.write() as connection:  # the gate has the last word
        connection.execute(text('UPDATE event SET properties = \'{"confidence": "machine"}\''))
    made.go(11)
    assert made.ends()[2] == "planned waiting:opened"
    assert made.go(181).ends()[2] == "skipped not_opened"
