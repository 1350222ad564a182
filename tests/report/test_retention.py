"""Who stays: whatever the events, the database's counts equal a recount in Python, day by day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from orchestrator.errors import InputError, NotFoundError
from orchestrator.report import retention_page, retention_terminal
from orchestrator.report import retention_words as words
from orchestrator.report.days import day_sql, number_of, offsets
from orchestrator.report.retention import AFTER, Cohort, Retention, retention
from orchestrator.store import Store
from orchestrator.store.tables import event
from tests import world

START = datetime(2026, 3, 2, tzinfo=UTC)
"""A Monday, some weeks before Berlin's clocks change."""
NOW = START + timedelta(days=130, hours=9)

Active = Mapping[int, frozenset[date]]


def write(store: Store, moments: list[tuple[int, datetime]], name: str = "app_open") -> None:
    with store.write() as connection:
        rows = [
            {"user_id": user, "name": name, "at": at, "received_at": at, "source_id": f"{name}{place}"}
            for place, (user, at) in enumerate(moments)
        ]
        if rows:
            connection.execute(insert(event), rows)


def found(store: Store, since: date | None = None, zone: str = "UTC", until: date | None = None) -> Retention:
    with store.read() as connection:
        return retention(connection, NOW, zone=zone, since=since, until=until)


minutes = st.integers(0, 130 * 24 * 60 + 500)
moments = st.lists(st.tuples(st.integers(1, 6), minutes), min_size=1, max_size=60)


@given(
    moments, st.sampled_from(("UTC", "Europe/Berlin", "Pacific/Kiritimati", "America/St_Johns")), st.integers(0, 110)
)
@settings(max_examples=60, deadline=None)
def test_any_events_are_counted_as_a_recount_in_python_would(
    shared_store: Store, events: list[tuple[int, int]], zone: str, later: int
) -> None:
    when = [(user, START + timedelta(minutes=minute)) for user, minute in events]
    since = START.date() + timedelta(days=later)
    world.wipe(shared_store)
    write(shared_store, when)
    write(shared_store, [(9, START)], name="order_paid")
    try:
        counted = found(shared_store, since, zone)
    except InputError:
        return  # nothing before today
    _recount(counted, when, ZoneInfo(zone))


def _recount(counted: Retention, when: list[tuple[int, datetime]], zone: ZoneInfo) -> None:
    today = NOW.astimezone(zone).date()
    active: dict[int, set[date]] = {}
    for user, at in when:
        day = at.astimezone(zone).date()
        if day < today:
            active.setdefault(user, set()).add(day)
    days = {user: frozenset(some) for user, some in active.items()}
    assert counted.users == len(days)
    assert counted.until == today
    assert [day.day for day in counted.days] == _span(counted.since, today)
    for one in counted.days:
        assert one.active == _within(days, one.day, 0, 0)
        assert one.new == sum(min(some) == one.day for some in days.values())
        assert one.weekly == _within(days, one.day, 6, 0)
        assert one.monthly == _within(days, one.day, 29, 0)
        assert one.before == _within(days, one.day, 59, 30)
        assert one.churned == _silent(days, one.day)
    for cohort in counted.cohorts:
        _recount_cohort(cohort, days, today, counted.since)
    for after, share in counted.back.items():
        born = [some for some in days.values() if min(some) >= counted.since]
        assert (share.count, share.people) == _back(born, after, today)


def _span(start: date, end: date) -> list[date]:
    return [start + timedelta(days=place) for place in range((end - start).days)]


def _within(days: Active, day: date, most: int, least: int) -> int:
    return sum(any(least <= (day - one).days <= most for one in some) for some in days.values())


def _silent(days: Active, day: date) -> int:
    """Active 30 to 59 days before, and not in the last 30 days."""
    gone = [some for some in days.values() if any(30 <= (day - one).days <= 59 for one in some)]
    return sum(not any(0 <= (day - one).days <= 29 for one in some) for some in gone)


def _back(born: list[frozenset[date]], after: int, today: date) -> tuple[int, int]:
    known = [some for some in born if min(some) + timedelta(days=after) < today]
    return sum(min(some) + timedelta(days=after) in some for some in known), len(known)


def _recount_cohort(cohort: Cohort, days: Active, today: date, since: date) -> None:
    last = cohort.week + timedelta(days=6)
    assert cohort.week.weekday() == 0
    born = [some for some in days.values() if max(cohort.week, since) <= min(some) <= last]
    assert cohort.size == len(born)
    assert {after: cohort.back[after] for after in AFTER} == {after: _back(born, after, today) for after in AFTER}
    for week, there in enumerate(cohort.weeks):
        if last + timedelta(days=7 * week + 6) >= today:
            assert there is None
        else:
            assert there == sum(any((day - min(some)).days // 7 == week for day in some) for some in born)


@given(st.integers(0, 365 * 24 * 60 * 60), st.sampled_from(("Europe/Berlin", "Australia/Lord_Howe", "Asia/Shanghai")))
@settings(max_examples=200, deadline=None)
def test_offsets_are_those_of_the_zone_to_the_second(seconds: int, name: str) -> None:
    zone, first = ZoneInfo(name), datetime(2026, 1, 1, tzinfo=UTC)
    at = first + timedelta(seconds=seconds)
    known = [offset for start, offset in offsets(zone, first, first + timedelta(days=366)) if start <= at]
    local = at.astimezone(zone).replace(tzinfo=UTC)
    assert timedelta(microseconds=known[-1]) == local - at


def test_midnight_of_the_zone_parts_the_days(store: Store) -> None:
    midnight = datetime(2026, 4, 1, tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)
    write(store, [(1, midnight - timedelta(microseconds=1)), (1, midnight)])
    series = {day.day: day.active for day in found(store, zone="Europe/Berlin").days}
    assert (series[date(2026, 3, 31)], series[date(2026, 4, 1)]) == (1, 1)
    assert number_of(date(1970, 1, 2)) == 1
    assert "CASE" in str(day_sql(event.c.at, ZoneInfo("Europe/Berlin"), START, NOW))


def test_an_event_of_another_name_is_suggested(store: Store) -> None:
    write(store, [(1, START)], name="app_open")
    with store.read() as connection, pytest.raises(NotFoundError) as failed:
        retention(connection, NOW, name="app_opne")
    assert "did you mean 'app_open'?" in failed.value.hint


def test_no_whole_day_is_refused(store: Store) -> None:
    write(store, [(1, NOW)])
    with pytest.raises(InputError, match="no whole day"):
        found(store)


@pytest.fixture
def lively(store: Store) -> Retention:
    """400 users of whom fewer and fewer are there."""
    when = []
    for user in range(1, 401):
        born = START + timedelta(days=user % 60, hours=user % 24)
        when += [
            (user, born + timedelta(days=day)) for day in range(60) if day == 0 or (user * 7 + day * 3) % (3 + day) == 0
        ]
    write(store, when)
    return found(store)


@pytest.mark.parametrize("locale", ["en", "zh"])
def test_the_page_fetches_nothing_and_has_both_languages(lively: Retention, locale: str) -> None:
    made = retention_page.page(lively, locale)
    assert made.startswith(f'<!doctype html>\n<html lang="{locale}" data-lang="{locale}">')
    assert "http" not in made
    assert "src=" not in made
    assert made.count("<svg") == 4 * 2 * 2
    assert "nan" not in made.replace("finance", "")
    assert "Cohort by cohort" in made
    assert "逐批次留存热图" in made


def test_the_headline_says_who_is_back(lively: Retention) -> None:
    rate = lively.back[1].rate
    assert f"{rate * 100:.1f}" in words.headline(lively, "en")
    assert "次日回来" in words.headline(lively, "zh")


def test_a_young_app_can_be_drawn(store: Store) -> None:
    write(store, [(1, NOW - timedelta(days=1))])
    young = found(store)
    for locale in ("en", "zh"):
        assert retention_page.page(young, locale)
        assert len(retention_terminal.report(young, locale).renderables) > 5
    assert "nobody can be judged yet" in words.headline(young, "en")
