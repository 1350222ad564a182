"""Reopens and conversions: the same question to everybody, the same answer however the events come in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, event, insert, select, update

from orchestrator.audience.events import IncomingEvent, record_events
from orchestrator.store import Store
from orchestrator.store.tables import event as event_table
from orchestrator.store.tables import member, meta, metadata, run, version
from orchestrator.tracking import attribution
from orchestrator.tracking.attribution import Attributed, attribute
from tests.tracking.world import HOUR, NOW, World

MICROSECOND = timedelta(microseconds=1)


def happened(store: Store, *events: tuple[str, int, str, datetime, Any]) -> None:
    """(id, user, name, at, amount) as the app tells it."""
    incoming = [
        IncomingEvent(f"u-{user}", name, at, source, {} if amount is None else {"amount": amount})
        for source, user, name, at, amount in events
    ]
    with store.write() as connection:
        record_events(connection, incoming, NOW)


def rows(store: Store) -> dict[tuple[int, int], tuple[datetime | None, datetime | None, float | None]]:
    with store.read() as connection:
        found = connection.execute(select(member)).all()
    return {(row.run_id, row.user_id): (row.reopened_at, row.converted_at, row.conversion_value) for row in found}


def test_the_goal_span_is_half_open(store: Store, world: World) -> None:
    one = world.run()
    for user, offset in enumerate((-MICROSECOND, timedelta(0), 24 * HOUR - MICROSECOND, 24 * HOUR), start=1):
        world.member(one, user, NOW)
        happened(store, (f"e{user}", user, "app_open", NOW + offset, None))
    assert attribute(store, NOW + 30 * HOUR) == Attributed(reopened=2)
    assert [rows(store)[one, user][0] is not None for user in (1, 2, 3, 4)] == [False, True, True, False]


def test_held_out_and_treated_alike(store: Store, world: World) -> None:
    one = world.run()
    for user in (1, 2):
        world.member(one, user, NOW, held_out=user == 2)
        happened(
            store, (f"e{user}", user, "app_open", NOW + HOUR, None), (f"p{user}", user, "order_paid", NOW + HOUR, 5)
        )
    assert attribute(store, NOW + 2 * HOUR) == Attributed(reopened=2, converted=2)
    assert rows(store)[one, 1] == rows(store)[one, 2] == (NOW + HOUR, NOW + HOUR, 5.0)


def test_a_member_without_slot_is_asked_nothing(store: Store, world: World) -> None:
    one = world.run(anchors=(NOW, None))
    world.member(one, 1, None)
    happened(store, ("e", 1, "app_open", NOW + HOUR, None))
    assert attribute(store, NOW + 2 * HOUR) == Attributed()
    assert rows(store)[one, 1] == (None, None, None)


def test_values_are_summed_over_the_span_and_words_are_not_values(store: Store, world: World) -> None:
    one = world.run()
    world.member(one, 1, NOW)
    amounts = [12.5, "free", None, 7, True]
    happened(store, *((f"p{n}", 1, "order_paid", NOW + n * HOUR, amount) for n, amount in enumerate(amounts, start=1)))
    happened(store, ("late", 1, "order_paid", NOW + 72 * HOUR, 100))
    attribute(store, NOW + 80 * HOUR)
    assert rows(store)[one, 1] == (None, NOW + HOUR, 19.5)


def test_a_late_event_moves_the_reopen_forward_in_time(store: Store, world: World) -> None:
    one = world.run()
    world.member(one, 1, NOW)
    happened(store, ("second", 1, "app_open", NOW + 5 * HOUR, None))
    assert attribute(store, NOW + 6 * HOUR) == Attributed(reopened=1)
    happened(store, ("first", 1, "app_open", NOW + HOUR, None))
    assert attribute(store, NOW + 7 * HOUR) == Attributed()
    assert rows(store)[one, 1][0] == NOW + HOUR


def test_two_runs_of_one_user_each_get_their_own_answer(store: Store, world: World) -> None:
    one, two = world.run(1), world.run(2, anchors=(NOW + 24 * HOUR,))
    world.member(one, 1, NOW)
    world.member(two, 1, NOW + 24 * HOUR)
    happened(store, ("e", 1, "app_open", NOW + 25 * HOUR, None))
    assert attribute(store, NOW + 26 * HOUR) == Attributed(reopened=1)
    assert rows(store) == {(one, 1): (None, None, None), (two, 1): (NOW + 25 * HOUR, None, None)}


def test_nothing_new_writes_nothing(store: Store, world: World) -> None:
    one = world.run()
    world.member(one, 1, NOW)
    happened(store, ("e", 1, "app_open", NOW + HOUR, None))
    attribute(store, NOW + 2 * HOUR)
    said: list[str] = []
    event.listen(store.writer_engine, "before_cursor_execute", lambda *given: said.append(given[2]))
    assert attribute(store, NOW + 2 * HOUR) == Attributed()
    assert [one for one in said if not one.startswith("SELECT")] == []  # PostgreSQL's readers are writers too


def test_events_that_came_before_the_plan_was_complete_count(store: Store, world: World) -> None:
    one = world.run(state="planning")
    happened(store, ("e", 1, "app_open", NOW + HOUR, None))
    assert attribute(store, NOW + 2 * HOUR) == Attributed()
    world.member(one, 1, NOW)
    with store.write() as connection:
        connection.execute(update(run).values(state="active"))
    assert attribute(store, NOW + 2 * HOUR) == Attributed(reopened=1)


def test_a_run_that_has_not_opened_is_not_searched_but_misses_nothing(store: Store, world: World) -> None:
    one = world.run(anchors=(NOW + 10 * HOUR,))
    world.member(one, 1, NOW + 10 * HOUR)
    happened(store, ("early", 1, "app_open", NOW, None))
    assert attribute(store, NOW) == Attributed()
    happened(store, ("e", 1, "app_open", NOW + 11 * HOUR, None))
    assert attribute(store, NOW + 12 * HOUR) == Attributed(reopened=1)


def test_a_run_is_looked_at_until_its_grace_is_over(store: Store, world: World) -> None:
    one = world.run()
    world.member(one, 1, NOW)
    world.member(one, 2, NOW)
    over = NOW + 72 * HOUR + attribution.GRACE
    attribute(store, over - MICROSECOND)
    happened(store, ("late", 1, "app_open", NOW + HOUR, None))
    assert attribute(store, over) == Attributed(reopened=1)
    happened(store, ("too-late", 2, "app_open", NOW + HOUR, None))
    assert attribute(store, over + HOUR) == Attributed()


def test_a_version_that_cannot_be_read_does_not_stop_the_other_runs(store: Store, world: World) -> None:
    world.member(world.run(1), 1, NOW)
    world.member(world.run(2), 1, NOW)
    with store.write() as connection:
        connection.execute(update(run).where(run.c.id == 1).values(version="gone"))
    happened(store, ("e", 1, "app_open", NOW + HOUR, None))
    assert attribute(store, NOW + 2 * HOUR) == Attributed(reopened=1)


def test_many_members_and_events_go_in_pieces(store: Store, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attribution, "CHUNK", 7)
    monkeypatch.setattr(attribution, "OVERLAP", 0)
    one = world.run()
    for user in range(1, 31):
        world.member(one, user, NOW)
    happened(store, *((f"a{user}", user, "app_open", NOW + HOUR, None) for user in range(1, 16)))
    assert attribute(store, NOW + 2 * HOUR) == Attributed(reopened=15)
    happened(store, *((f"b{user}", user, "app_open", NOW + HOUR, None) for user in range(1, 31)))
    assert attribute(store, NOW + 2 * HOUR) == Attributed(reopened=15)


MINUTES = st.integers(-60, 100 * 60)
EVENTS = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from(["app_open", "order_paid", "other"]), MINUTES, st.integers(0, 5)),
    max_size=25,
)
ANCHORS = st.lists(st.one_of(st.none(), st.integers(-120, 24 * 60)), min_size=4, max_size=4)


@pytest.fixture(scope="module")
def shared(shared_store: Store) -> World:
    return World(shared_store)


def oracle(
    anchor: int | None, events: Sequence[tuple[str, int, int]]
) -> tuple[datetime | None, datetime | None, float | None]:
    """(name, minute, amount) → what the member should have."""
    if anchor is None:
        return None, None, None
    opens = [at for name, at, _ in events if name == "app_open" and anchor <= at < anchor + 24 * 60]
    paid = [(at, amount) for name, at, amount in events if name == "order_paid" and anchor <= at < anchor + 72 * 60]
    return (
        NOW + timedelta(minutes=min(opens)) if opens else None,
        NOW + timedelta(minutes=min(at for at, _ in paid)) if paid else None,
        float(sum(amount for _, amount in paid)) if paid else None,
    )


@settings(max_examples=60, deadline=None)
@given(
    events=EVENTS,
    anchors=ANCHORS,
    order=st.randoms(use_true_random=False),
    pieces=st.integers(1, 4),
    repeat=st.booleans(),
    early=st.booleans(),
)
def test_any_order_any_pieces_the_same_answer(
    shared: World,
    events: list[tuple[int, str, int, int]],
    anchors: list[int | None],
    order: Any,
    pieces: int,
    repeat: bool,
    early: bool,
) -> None:
    """Late, disordered and repeated events, taken in over several passes, against a plain Python oracle."""
    store = shared.store
    with store.write() as connection:
        for table in metadata.sorted_tables:
            if table is not version:
                connection.execute(delete(table))
    instants = [None if minute is None else NOW + timedelta(minutes=minute) for minute in anchors]
    one = shared.run(anchors=tuple(instants))
    for user, anchor in enumerate(instants, start=1):
        shared.member(one, user, anchor)
    arriving = [
        (f"e{n}", user, name, NOW + timedelta(minutes=minute), amount)
        for n, (user, name, minute, amount) in enumerate(events)
    ]
    arriving += arriving[:3] if repeat else []
    order.shuffle(arriving)
    if early:
        attribute(store, NOW - 3 * HOUR)
    for piece in range(pieces):
        happened(store, *arriving[piece::pieces])
        attribute(store, NOW + (101 + piece) * HOUR)
    expected = {
        (one, user): oracle(anchor, [(name, minute, amount) for who, name, minute, amount in events if who == user])
        for user, anchor in enumerate(anchors, start=1)
    }
    assert rows(store) == expected


def test_an_erased_last_event_does_not_hide_the_next(store: Store, world: World) -> None:
    """SQLite gives the highest id again after its row is deleted."""
    one = world.run()
    world.member(one, 1, NOW)
    happened(store, ("x", 2, "app_open", NOW + HOUR, None))
    attribute(store, NOW + 2 * HOUR)
    with store.write() as connection:
        connection.execute(delete(event_table))
    happened(store, ("e", 1, "app_open", NOW + HOUR, None))
    assert attribute(store, NOW + 2 * HOUR) == Attributed(reopened=1)


def test_a_pass_that_was_killed_is_simply_repeated(store: Store, world: World) -> None:
    one = world.run()
    world.member(one, 1, NOW)
    happened(store, ("e", 1, "app_open", NOW + HOUR, None))
    attribute(store, NOW + 2 * HOUR)
    with store.write() as connection:  # as if killed before the watermark was written
        connection.execute(delete(meta))
        connection.execute(update(member).values(reopened_at=None))
    assert attribute(store, NOW + 2 * HOUR) == Attributed(reopened=1)


def test_a_run_that_opened_for_nobody_is_left_alone(store: Store, world: World) -> None:
    world.run(anchors=(None,))
    attribute(store, NOW)
    with store.write() as connection:
        connection.execute(insert(meta).values(key="x", value="y"))
        assert (
            connection.execute(select(meta.c.value).where(meta.c.key == "attribution:1")).scalar() == attribution.DONE
        )
