"""Who was merged: their messages are still theirs, and what they do now counts for what they were sent before."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from orchestrator.audience.events import IncomingEvent
from orchestrator.audience.merging import merge_users
from orchestrator.clock import ManualClock
from orchestrator.store import Store
from orchestrator.store.tables import event, member
from orchestrator.tracking.attribution import attribute
from orchestrator.tracking.ingest import take_in
from tests.tracking.world import HOUR, NOW, World


def test_events_of_the_one_who_stays_count_for_both_members(store: Store) -> None:
    world = World(store)
    run_id = world.run()
    for number in (1, 2, 3):
        world.member(run_id, number, NOW)
    opened = world.message(run_id, 2)
    attribute(store, NOW)
    merge_users(store, "u-1", "u-2", ManualClock(NOW), "test")
    later = NOW + HOUR
    with store.write() as connection:
        told = [
            IncomingEvent("u-1", "message_opened", later, "e-1", {}, opened),
            IncomingEvent("u-2", "app_open", later, "e-2"),
            IncomingEvent("u-3", "message_opened", later, "e-3", {}, opened),
        ]
        take_in(connection, [told], later)
    attribute(store, later + timedelta(minutes=1))
    with store.read() as connection:
        linked = dict(connection.execute(select(event.c.source_id, event.c.message_id)).all())
        back = dict(connection.execute(select(member.c.user_id, member.c.reopened_at)).all())
    store.close()
    assert linked == {"e-1": opened, "e-2": None, "e-3": None}
    assert back == {1: later, 2: later, 3: None}
