"""New events by cursor: none is lost that commits late, or gets an erased one's id; and no reader reads for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from orchestrator.clock import ManualClock, to_micros
from orchestrator.plan import heard
from orchestrator.plan.heard import News, has_news, passed, read, settled
from orchestrator.store import Store
from tests import world

START = datetime(2026, 12, 7, 10, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


def put(store: Store, ident: int, at: datetime, name: str = "cart_updated") -> None:
    """An event under an id of its own choice: as if its transaction had begun earlier."""
    with store.write() as connection:
        row = {"id": ident, "name": name, "at": to_micros(at)}
        connection.execute(_PUT, row)


_PUT = text("""
    INSERT INTO event (id, user_id, name, at, received_at, source_id)
    VALUES (:id, 1, :name, :at, :at, CAST(:id AS TEXT) || :name)""")


def news(store: Store, clock: ManualClock, **more: int) -> list[int]:
    """What a reader reads at one tick, page by page."""
    found, after = list[int](), None
    while True:
        with store.write() as connection:
            page: News = read(
                connection, "t", ["cart_updated"], since=START - MINUTE, settled=settled(clock), after=after, **more
            )
        found += [event.id for event in page.events]
        if not page.more:
            return found
        after = page.through


def test_everything_is_read_in_order_and_page_by_page(store: Store, clock: ManualClock) -> None:
    for n in range(1, 26):
        put(store, n, START + timedelta(seconds=n), "cart_updated" if n % 2 else "app_open")
    clock.advance(MINUTE)
    assert news(store, clock, limit=4) == list(range(1, 26, 2))
    clock.advance(10 * MINUTE)
    news(store, clock)
    with store.read() as connection:
        assert not has_news(connection, "t")
    put(store, 26, clock.now())
    with store.read() as connection:
        assert has_news(connection, "t")


@pytest.mark.parametrize("naive", [False, True])
def test_an_id_that_commits_late_is_not_lost(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, *, naive: bool
) -> None:
    monkeypatch.setattr(heard, "REREAD", 0)  # it is the settling alone that helps here
    if naive:
        monkeypatch.setattr(heard, "SETTLED_AFTER", timedelta(0))
    put(store, 2, START)
    assert news(store, clock) == [2]
    put(store, 1, START)  # its transaction began first and ended last
    clock.advance(timedelta(seconds=20))
    assert (1 in news(store, clock)) is not naive


def test_an_earlier_page_that_stops_the_cursor_stops_it_for_the_later_ones(store: Store, clock: ManualClock) -> None:
    put(store, 1, START - 10 * MINUTE)
    put(store, 2, START)  # not settled
    put(store, 3, START - 10 * MINUTE)  # settled long ago, by its clock
    assert news(store, clock, limit=1) == [1, 2, 3]
    with store.read() as connection:
        assert connection.execute(text("SELECT event_id FROM event_cursor")).scalar_one() == 1


def test_ids_that_are_given_out_again_are_read(store: Store, clock: ManualClock) -> None:
    for n in range(1, 1001):
        put(store, n, START - MINUTE)
    clock.advance(10 * MINUTE)
    assert len(news(store, clock)) == 1000
    with store.write() as connection:
        connection.execute(text("DELETE FROM event WHERE id > 990"))  # somebody was erased
    put(store, 991, clock.now())
    assert 991 in news(store, clock)


def test_ids_that_are_given_out_again_are_news_before_they_reach_the_cursor(store: Store, clock: ManualClock) -> None:
    for n in range(1, 11):
        put(store, n, START)
    clock.advance(10 * MINUTE)
    assert news(store, clock) == list(range(1, 11))
    with store.write() as connection:
        connection.execute(text("DELETE FROM event WHERE id > 4"))
    put(store, 5, clock.now())
    with store.read() as connection:
        assert has_news(connection, "t")
    assert news(store, clock)[-1] == 5


def test_a_reader_that_slept_begins_with_what_is_wanted(store: Store, clock: ManualClock) -> None:
    put(store, 1, START - timedelta(days=400))
    clock.instant = START - timedelta(days=399)
    with store.write() as connection:
        read(connection, "t", ["cart_updated"], since=START - timedelta(days=500), settled=settled(clock))
    for n in range(2, 3000):
        put(store, n, START - timedelta(days=3000 - n))
    clock.instant = START
    put(store, 3000, START)
    found = news(store, clock)
    assert found[-1] == 3000
    assert len(found) <= heard.REREAD + 2


def test_what_is_passed_is_never_read_again(store: Store, clock: ManualClock) -> None:
    for n in range(1, 2001):
        put(store, n, START - MINUTE)
    clock.advance(10 * MINUTE)
    news(store, clock)
    with store.read() as connection:
        border = passed(connection, "t")
    assert border == 2000 - heard.REREAD
    assert min(news(store, clock)) > border


def test_nothing_is_read_by_who_listens_to_nothing(store: Store, clock: ManualClock) -> None:
    world.did(store, "ada", "cart_updated", START)
    with store.write() as connection:
        found = read(connection, "t", [], since=START, settled=settled(clock))
    assert found.events == ()
    assert not found.more
