"""Cron strings against an oracle that knows only minutes of the wall clock; naive readings of one are caught."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import InputError
from orchestrator.timing.cron import Cron
from tests.timing.oracle import DAY, MINUTE, distinct_transitions

Fields = tuple[frozenset[int], frozenset[int], frozenset[int]]
"""Minutes, hours, weekdays (0 is Sunday)."""
Reading = Callable[[Cron, datetime, datetime], list[datetime]]
CHANGES = distinct_transitions()


def text_of(fields: Fields) -> str:
    minutes, hours, days = (",".join(map(str, sorted(field))) for field in fields)
    return f"{minutes} {hours} * * {days}"


def oracle(fields: Fields, zone: str, since: datetime, until: datetime) -> list[datetime]:
    """Every minute that a wall clock could show, and what it means: the old offset in a gap, once in a fold."""
    minutes, hours, days = fields
    found, wall = set(), datetime.combine(since.date() - 2 * DAY, time())
    while wall.date() <= until.date() + 2 * DAY:
        if wall.minute in minutes and wall.hour in hours and wall.isoweekday() % 7 in days:
            found.add(wall.replace(tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC))
        wall += MINUTE
    return sorted(at for at in found if since < at <= until)


def ours(cron: Cron, since: datetime, until: datetime) -> list[datetime]:
    return list(takewhile(lambda at: at <= until, cron.after(since)))


@st.composite
def some(draw: st.DrawFn) -> tuple[Fields, str, date]:
    zone, day = draw(st.sampled_from(CHANGES))
    minutes = draw(st.frozensets(st.sampled_from([0, 5, 15, 30, 45, 59]), min_size=1, max_size=3))
    hours = draw(st.frozensets(st.integers(0, 23) | st.integers(0, 3), min_size=1, max_size=4))
    days = draw(st.just(frozenset(range(7))) | st.frozensets(st.integers(0, 6), min_size=1))
    return (minutes, hours, days), zone, day


def agrees(reading: Reading, fields: Fields, zone: str, day: date) -> bool:
    since = datetime.combine(day, time(), tzinfo=UTC) - 2 * DAY
    until = since + 4 * DAY
    return reading(Cron.parse(text_of(fields), zone), since, until) == oracle(fields, zone, since, until)


@settings(max_examples=60, deadline=None)
@given(some())
def test_around_every_change_of_clocks_it_is_what_the_wall_clock_says(case: tuple[Fields, str, date]) -> None:
    assert agrees(ours, *case)


@settings(max_examples=25, deadline=None)
@given(some(), st.integers(0, 4 * 24 * 60))
def test_it_may_be_asked_from_any_instant_on(case: tuple[Fields, str, date], minutes: int) -> None:
    fields, zone, day = case
    since = datetime.combine(day, time(), tzinfo=UTC) - 2 * DAY + minutes * MINUTE
    cron = Cron.parse(text_of(fields), zone)
    assert ours(cron, since, since + DAY) == oracle(fields, zone, since, since + DAY)


def as_debian(cron: Cron, since: datetime, until: datetime) -> list[datetime]:
    """Cronsim itself: a time in a gap fires when the gap ends."""
    zone = ZoneInfo(cron.zone)
    walls = CronSim(cron.text, since.astimezone(zone))
    return [at.astimezone(UTC) for at in takewhile(lambda at: at <= until, walls)]


def by_minutes(cron: Cron, since: datetime, until: datetime) -> list[datetime]:
    """Asks at every minute what the clock shows: never in a gap, twice in a fold."""
    zone, found, at = ZoneInfo(cron.zone), [], since + MINUTE
    while at <= until:
        wall = at.astimezone(zone).replace(tzinfo=None)
        if next(CronSim(cron.text, wall - MINUTE)) == wall:
            found.append(at)
        at += MINUTE
    return found


BERLIN = (("2026-03-29", frozenset({2})), ("2026-10-25", frozenset({2})))


@pytest.mark.parametrize("naive", [as_debian, by_minutes])
def test_naive_readings_are_caught(naive: Reading) -> None:
    cases = [((frozenset({30}), hours, frozenset(range(7))), date.fromisoformat(day)) for day, hours in BERLIN]
    assert all(agrees(ours, fields, "Europe/Berlin", day) for fields, day in cases)
    assert not all(agrees(naive, fields, "Europe/Berlin", day) for fields, day in cases)


def first(text: str, zone: str, after: str, count: int = 3) -> list[str]:
    found: Iterator[datetime] = Cron.parse(text, zone).after(datetime.fromisoformat(after))
    return [f"{at:%Y-%m-%d %H:%M}" for at in islice(found, count)]


def test_weekdays_are_crons_own() -> None:
    mondays = ["2026-12-07 01:00", "2026-12-14 01:00", "2026-12-21 01:00"]
    assert first("0 9 * * mon", "Asia/Shanghai", "2026-12-01T00:00Z") == mondays
    assert first("0 9 * * 1", "Asia/Shanghai", "2026-12-01T00:00Z") == mondays
    sundays = first("0 9 * * 0", "Asia/Shanghai", "2026-12-01T00:00Z")
    assert (
        sundays
        == first("0 9 * * 7", "Asia/Shanghai", "2026-12-01T00:00Z")
        == first("0 9 * * SUN", "Asia/Shanghai", "2026-12-01T00:00Z")
    )
    assert sundays[0] == "2026-12-06 01:00"


def test_a_time_in_a_gap_is_at_the_old_offset_and_one_in_a_fold_comes_once() -> None:
    assert first("30 2 29 3 *", "Europe/Berlin", "2026-03-01T00:00Z", 1) == ["2026-03-29 01:30"]  # 03:30 there
    assert first("30 2 25,26 10 *", "Europe/Berlin", "2026-10-01T00:00Z") == [
        "2026-10-25 00:30",
        "2026-10-26 01:30",
        "2027-10-25 00:30",
    ]
    assert first("30 2,3 29 3 *", "Europe/Berlin", "2026-03-01T00:00Z", 2) == ["2026-03-29 01:30", "2027-03-29 00:30"]


def test_an_instant_is_after_itself_no_more() -> None:
    at = datetime(2026, 12, 7, 1, tzinfo=UTC)
    assert next(Cron.parse("0 9 * * *", "Asia/Shanghai").after(at)) == at + DAY
    assert next(Cron.parse("0 9 * * *", "Asia/Shanghai").after(at - timedelta(microseconds=1))) == at


def test_dates_of_it() -> None:
    cron = Cron.parse("0 9 1 * *", "Asia/Shanghai")
    assert [day for day in range(1, 31) if cron.on(date(2026, 11, day))] == [1]


@pytest.mark.parametrize(
    ("text", "zone", "said"),
    [
        ("0 9 * *", "UTC", "no cron string of five fields"),
        ("@daily", "UTC", "no cron string of five fields"),
        ("0 0 9 * * mon", "UTC", "no cron string of five fields"),
        ("0 24 * * *", "UTC", "its hour is wrong"),
        ("0 9 * * moon", "UTC", "its day-of-week is wrong"),
        ("0 9 30 2 *", "UTC", "its day-of-month is wrong"),
        ("0 9 * * *", "Europe/Berln", "unknown time zone"),
    ],
)
def test_what_is_none_is_refused(text: str, zone: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Cron.parse(text, zone)
