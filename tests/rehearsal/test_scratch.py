"""The scratch copy and the rates that history gives: what is needed is there, on both databases, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text, update

from orchestrator.clock import ManualClock
from orchestrator.ledger.states import State
from orchestrator.rehearsal.history import ENOUGH, history
from orchestrator.rehearsal.responses import DEFAULTS
from orchestrator.rehearsal.scratch import LEFT_OUT, Extent, copy, scratch
from orchestrator.store import Store
from orchestrator.store.tables import member, message, metadata, users
from tests import world
from tests.rehearsal.theatre import town

_ADDRESSES = "INSERT INTO address (user_id, channel, kind, value, last_seen_at, valid_from)"
_CONSENTS = "INSERT INTO consent (user_id, channel, topic, granted, source, valid_from)"
WORLD = Extent(world.OPENING + timedelta(days=1), events=("app_open",))


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Store]:
    store = world.fresh(tmp_path / "real.db")
    yield store
    store.close()


def rows(store: Store, table: str) -> list[tuple[object, ...]]:
    with store.read() as connection:
        return sorted(tuple(row) for row in connection.execute(text(f"SELECT * FROM {table}")))


def test_what_is_needed_is_copied_as_it_is(real: Store) -> None:
    town(real, 12)
    world.did(real, "u1", "app_open", world.OPENING)
    world.did(real, "u1", "noise", world.OPENING)
    world.plan(real, world.bundle(), ManualClock(world.OPENING))
    with scratch() as store:
        copy(real, store, WORLD)
        for table in metadata.sorted_tables:
            if table.name not in {*LEFT_OUT, "event"}:
                assert rows(store, table.name) == rows(real, table.name), table.name
        assert len(rows(store, "event")) == 1
        assert all(rows(store, name) == [] for name in LEFT_OUT)


def test_what_a_worker_holds_is_taken_as_sent_or_not_begun(real: Store) -> None:
    town(real, 2)
    world.plan(real, world.bundle(), ManualClock(world.OPENING))
    with real.write() as connection:
        first, *rest = connection.execute(select(message.c.id).order_by(message.c.id)).scalars().all()
        connection.execute(update(message).where(message.c.id == first).values(state="sending", worker_id=7))
        connection.execute(update(message).where(message.c.id.in_(rest)).values(state="claimed", worker_id=7))
    with scratch() as store:
        copy(real, store, WORLD)
        with store.read() as connection:
            states = dict(connection.execute(select(message.c.id, message.c.state)).all())
            held = connection.execute(select(message.c.id).where(message.c.worker_id.is_not(None))).all()
    assert states == {first: State.ACCEPTED, **dict.fromkeys(rest, State.PLANNED)}
    assert held == []


def test_a_sample_takes_whole_people(real: Store) -> None:
    town(real, 60)
    with scratch() as store:
        copy(real, store, Extent(world.OPENING, 0.5))
        with store.read() as connection:
            people = set(connection.execute(select(users.c.id)).scalars())
            owners = set(connection.execute(text("SELECT user_id FROM address")).scalars())
    assert 15 < len(people) < 45
    assert owners == people


def test_a_deployment_without_history_plays_with_stated_rates(real: Store) -> None:
    with real.read() as connection:
        known = history(connection, world.OPENING, 1)
    assert known.rates == DEFAULTS
    assert known.sources == {"": "assumed"}


def test_rates_come_from_history_where_there_is_enough(real: Store) -> None:
    people, now = ENOUGH + 100, world.OPENING + timedelta(days=2)
    with real.write() as connection:
        old = world.OPENING - timedelta(days=60)
        common = {"attributes": {}, "created_at": old, "updated_at": old, "zone": "Europe/Berlin"}
        crowd = [{"id": n, "external_id": f"u{n}", "zone_key": "Europe/Berlin", **common} for n in range(1, people + 1)]
        connection.execute(insert(users), crowd)
        connection.execute(
            text(f"{_ADDRESSES} SELECT id, 'push', 'token', 't' || id, created_at, created_at FROM users")
        )
        connection.execute(text(f"{_CONSENTS} SELECT id, 'push', 'promotions', true, '', created_at FROM users"))
    world.plan(real, world.bundle(steps=[world.DEFINITION["steps"][0]]), ManualClock(world.OPENING))
    with real.write() as connection:
        connection.execute(update(message).values(state="delivered", sent_at=world.OPENING))
        connection.execute(
            update(member).where(member.c.user_id <= people // 4).values(reopened_at=world.OPENING + timedelta(hours=1))
        )
    with real.read() as connection:
        known = history(connection, now, 1)
    assert known.sources["push"] == "history"
    push, alone = known.of("push"), known.by_themselves
    assert push.delivered == 1.0
    assert push.reopened + alone * (1 - push.reopened) == pytest.approx(0.25, abs=0.01)
    assert known.of("sms") == DEFAULTS["sms"]
