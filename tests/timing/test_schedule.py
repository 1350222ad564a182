"""When the run of a local date is open."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.timing.schedule import due_dates, ends_at, opens_at, unreachable_zones
from orchestrator.timing.window import Window
from orchestrator.timing.zonedata import zone_names

DAY = date(2026, 12, 15)


def every(_day: date) -> bool:
    return True


def test_a_run_opens_before_its_date_begins_anywhere() -> None:
    assert opens_at(DAY) == datetime(2026, 12, 14, 9, tzinfo=UTC)
    assert ends_at(DAY) == datetime(2026, 12, 17, 12, tzinfo=UTC)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(zone_names())), st.dates(date(2026, 1, 1), date(2028, 12, 31)))
def test_no_window_of_a_date_lies_outside_its_run(zone: str, day: date) -> None:
    for text in ("00:00-24:00", "23:59-23:58"):
        for start, end in Window.parse(text).on(day, zone).intervals:
            assert opens_at(day) + timedelta(hours=1) <= start
            assert end <= ends_at(day)


def test_due_dates_are_those_open_and_not_over() -> None:
    now = opens_at(DAY)
    assert due_dates(every, None, now) == [DAY - timedelta(days=n) for n in (3, 2, 1, 0)]
    assert due_dates(every, None, now - timedelta(microseconds=1))[-1] == DAY - timedelta(days=1)
    assert due_dates(every, opens_at(DAY) - timedelta(seconds=1), now) == [DAY]
    assert due_dates(every, opens_at(DAY), now) == []
    assert due_dates(lambda day: day.weekday() < 5, None, datetime(2026, 12, 13, 11, tzinfo=UTC)) == [
        date(2026, 12, 11),
        date(2026, 12, 14),
    ]


def test_an_old_schedule_does_not_run_whenever_the_daemon_wakes() -> None:  # listmonk #1801
    def only(day: date) -> bool:
        return day == DAY

    assert due_dates(only, None, ends_at(DAY) - timedelta(microseconds=1)) == [DAY]
    assert due_dates(only, None, ends_at(DAY)) == []
    assert due_dates(only, opens_at(DAY) - timedelta(days=30), ends_at(DAY) + timedelta(days=30)) == []


@given(st.integers(0, 3 * 365 * 24 * 60))
def test_due_dates_leave_none_out(minutes: int) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    days = [now.date() + timedelta(days=n) for n in range(-10, 10)]
    assert due_dates(every, None, now) == [day for day in days if opens_at(day) <= now < ends_at(day)]


def test_zones_that_a_window_cannot_reach_are_named() -> None:
    found = unreachable_zones(Window.parse("02:15-02:45"), [date(2027, 3, 28)])
    assert ("Europe/Berlin", date(2027, 3, 28)) in found
    assert not any(zone.startswith("Asia/") and zone != "Asia/Nicosia" for zone, _day in found)
    assert unreachable_zones(Window.parse("10:30-11:45"), [date(2027, 3, 28), date(2027, 9, 5)]) == ()
