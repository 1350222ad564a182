"""Best hours are refreshed from all events of a user: again changes nothing, and a kill loses nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from orchestrator.audience import people
from orchestrator.store import Store
from orchestrator.store.tables import best_hour, event, meta
from orchestrator.timing import best_hours, opens
from orchestrator.timing.best_hours import refresh
from orchestrator.timing.besttime import CODES, KEPT, LOOK_BACK, Habits
from orchestrator.timing.opens import count_population, read_population
from tests import world

NOW = datetime(2026, 12, 7, 12, tzinfo=UTC)  # a Monday
HABITS = Habits(pseudo=1.0)
DAY = timedelta(days=1)


def opened(store: Store, name: str, hour: int, times: int, now: datetime = NOW) -> None:
    """At that hour of UTC, on each of so many days before."""
    for n in range(1, times + 1):
        world.did(store, name, "app_open", (now - n * DAY).replace(hour=hour, minute=5))


def rows(store: Store) -> dict[int, Any]:
    with store.read() as connection:
        return {row.user_id: row for row in connection.execute(select(best_hour))}


def crowd(store: Store, count: int) -> list[int]:
    users = [world.person(store, f"u{n}", "UTC") for n in range(count)]
    for n in range(count):
        opened(store, f"u{n}", n % 24, 5 + n % 3)
    return users


def test_a_user_with_enough_opens_has_their_hours_and_others_none(store: Store) -> None:
    ada, bob = world.person(store, "ada", "UTC"), world.person(store, "bob", "UTC")
    lost = world.person(store, "dot", None)
    opened(store, "ada", 9, 5)
    opened(store, "bob", 9, 4)
    opened(store, "dot", 9, 9)
    refresh(store, NOW, HABITS)
    found = rows(store)
    assert set(found) == {ada}, (bob, lost)
    assert found[ada].opens == 5
    assert found[ada].until == (NOW - 5 * DAY).replace(hour=9, minute=5) + LOOK_BACK
    assert [found[ada].hours[day * KEPT] for day in range(7)] == [CODES[9]] * 7


def test_again_changes_nothing_and_looks_at_nobody(store: Store) -> None:
    crowd(store, 6)
    assert refresh(store, NOW, HABITS) == 6
    before = rows(store)
    assert refresh(store, NOW, HABITS) == 0
    assert rows(store) == before


def test_new_opens_are_taken_in_from_where_it_was(store: Store) -> None:
    ada, bob = crowd(store, 2)
    refresh(store, NOW, HABITS)
    old = rows(store)[bob]
    opened(store, "u0", 20, 30)
    refresh(store, NOW, HABITS)
    assert rows(store)[ada].opens == 35
    assert CODES[20] == rows(store)[ada].hours[0]
    assert rows(store)[bob] == old


@pytest.mark.parametrize("page", [1, 3])
def test_a_pass_that_is_killed_is_gone_on_with(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    """Killed in a transaction, and between two, in the pass over all and in those after it: the end is the same."""
    whole = world.fresh(tmp_path / "whole.db")
    for one in (store, whole):
        crowd(one, 12)
    refresh(whole, NOW, HABITS)
    monkeypatch.setattr(best_hours, "PAGE", page)
    monkeypatch.setattr(best_hours, "EVENTS", 7)
    killed = 0
    for stop_at in range(200):
        if refresh_killed(store, stop_at % 4):
            killed += 1
        else:
            break
    refresh(store, NOW, HABITS)
    assert killed >= 2
    assert rows(store) == rows(whole)
    for one in (store, whole):
        opened(one, "u3", 22, 9)
        opened(one, "u7", 21, 9)
    refresh_killed(store, 0)
    refresh_killed(store, 1)
    for one in (store, whole):
        refresh(one, NOW, HABITS)
    assert rows(store) == rows(whole)
    whole.close()


class KilledError(Exception):
    """The process is gone."""


def refresh_killed(store: Store, after: int) -> bool:
    """A pass that ends after so many transactions: whether it did."""
    left = after

    def go_on(_: int) -> bool:
        nonlocal left
        left -= 1
        if left < 0:
            raise KilledError
        return True

    try:
        refresh(store, NOW, HABITS, go_on)
    except KilledError:
        return True
    return False


def test_a_naive_watermark_that_moves_first_is_caught(store: Store) -> None:
    """Remembering how far it is before it is done loses whoever stood between."""
    crowd(store, 3)
    refresh(store, NOW, HABITS)
    opened(store, "u1", 22, 30)
    before = rows(store)
    with store.write() as connection:
        newest = connection.execute(select(event.c.id).order_by(event.c.id.desc()).limit(1)).scalar_one()
        best_hours._write_state(connection, best_hours._State(newest))
    refresh(store, NOW, HABITS)
    assert rows(store) == before


def test_a_pass_stops_when_it_is_told_and_comes_to_an_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(best_hours, "PAGE", 2)
    crowd(store, 9)
    assert [refresh(store, NOW, HABITS, lambda _: False) for _ in range(7)] == [2, 2, 2, 2, 1, 0, 0]
    assert len(rows(store)) == 9


def test_very_many_new_events_are_a_pass_over_all(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    crowd(store, 4)
    refresh(store, NOW, HABITS)
    monkeypatch.setattr(best_hours, "MANY", 3)
    opened(store, "u0", 3, 9)
    assert refresh(store, NOW, HABITS) == 4


def test_opens_fade_and_rows_with_them(store: Store) -> None:
    (ada,) = crowd(store, 1)
    refresh(store, NOW, HABITS)
    for days in (60, 170):
        refresh(store, NOW + days * DAY, HABITS)
        assert rows(store)[ada].computed_at == NOW + days * DAY
    refresh(store, NOW + 220 * DAY, HABITS)
    assert rows(store) == {}


def test_a_user_who_has_faded_goes_by_the_population_before_their_row_is_looked_at(store: Store) -> None:
    (ada,) = crowd(store, 1)
    refresh(store, NOW, HABITS)
    assert rows(store)[ada].until < NOW + LOOK_BACK


def test_the_population_is_counted_from_a_sample_once_a_day(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    crowd(store, 10)
    monkeypatch.setattr(opens, "SAMPLE", 5)
    with store.read() as connection:
        half = count_population(connection, NOW, HABITS)
    assert {cell % 24 for cell, count in enumerate(half.channels[""]) if count} == {1, 3, 5, 7, 9}  # ids 2, 4, …
    refresh(store, NOW, HABITS)
    refresh(store, NOW + timedelta(hours=23), HABITS)
    with store.read() as connection:
        known = read_population(connection)
        assert known is not None
        assert known.at == NOW
        assert connection.execute(select(meta.c.value).where(meta.c.key == "besttime")).scalar()
    refresh(store, NOW + DAY, HABITS)
    with store.read() as connection:
        known = read_population(connection)
    assert known is not None
    assert known.at == NOW + DAY


def test_a_user_who_moved_is_counted_by_the_new_clock_once_there_are_new_opens(store: Store) -> None:
    (ada,) = crowd(store, 1)  # opens at midnight, UTC
    refresh(store, NOW, HABITS)
    with store.write() as connection:
        people.upsert_users(connection, [people.UserRow("u0", zone="Asia/Tokyo")], NOW)
    refresh(store, NOW, HABITS)
    assert rows(store)[ada].hours[2 * KEPT] in {CODES[0], CODES[24]}
    world.did(store, "u0", "app_open", NOW)
    refresh(store, NOW, HABITS)
    assert rows(store)[ada].hours[2 * KEPT] == CODES[9]  # a Wednesday; it was midnight
