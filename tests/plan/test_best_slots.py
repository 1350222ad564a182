"""The open hours of a class: gaps, folds, odd zones, short windows, quiet hours, windows over midnight."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from orchestrator.plan.best_slots import OpenHours, open_hours
from orchestrator.policy.resolver import Rule, opening
from orchestrator.timing.besttime import CODES, WEEK_HOURS
from orchestrator.timing.quiet import QuietHours
from orchestrator.timing.window import Window

NONE = QuietHours(())
BERLIN = "Europe/Berlin"
ALIKE = [1.0] * WEEK_HOURS


def cut(
    window: str,
    day: str,
    zone: str,
    *,
    now: datetime | None = None,
    channel: str = "push",
    late: bool = False,
    quiet: QuietHours = NONE,
) -> OpenHours | None:
    """The hours of a class for which all hours are alike: in the order of the day."""
    first = date.fromisoformat(day)
    days = (first, first + timedelta(days=1)) if late else (first,)
    rule = Rule(channel, Window.parse(window), days, timedelta(hours=36))
    door = opening(rule, zone, "", quiet)
    due = door.allowed.next(now or datetime(2020, 1, 1, tzinfo=UTC))
    assert due is not None
    return open_hours(rule, door, zone, due, ALIKE)


def shown(found: OpenHours | None) -> dict[int, str]:
    """By hour of the date, what is open of it, in UTC."""
    pieces = found.pieces if found else {}
    return {CODES.index(code): f"{start:%H:%M}-{end:%H:%M}" for code, (start, end) in pieces.items()}


def test_a_window_is_cut_where_the_wall_clock_begins_an_hour() -> None:
    assert shown(cut("10:30-11:45", "2026-12-07", BERLIN)) == {10: "09:30-10:00", 11: "10:00-10:45"}
    assert shown(cut("10:30-11:45", "2026-12-07", "Asia/Kathmandu")) == {10: "04:45-05:15", 11: "05:15-06:00"}


def test_an_hour_in_a_gap_is_none() -> None:
    assert shown(cut("01:00-04:00", "2026-03-29", BERLIN)) == {1: "00:00-01:00", 3: "01:00-02:00"}


def test_of_an_hour_that_comes_twice_the_first_counts() -> None:
    found = cut("02:10-04:00", "2026-10-25", BERLIN)
    assert shown(found) == {2: "00:10-01:00", 3: "02:00-03:00"}


def test_half_an_hour_of_summer_time() -> None:
    """Lord Howe puts its clocks back by half an hour at 02:00: half past one comes twice, in one piece of time."""
    assert shown(cut("01:00-03:00", "2026-04-05", "Australia/Lord_Howe")) == {1: "14:00-15:30", 2: "15:30-16:30"}


def test_a_window_over_midnight_has_the_next_mornings_hours() -> None:
    assert shown(cut("22:00-02:00", "2026-12-07", "UTC")) == {
        22: "22:00-23:00", 23: "23:00-00:00", 24: "00:00-01:00", 25: "01:00-02:00",
    }  # fmt: skip


def test_a_few_minutes_of_an_hour_do_not_count_unless_there_are_no_more() -> None:
    assert list(shown(cut("10:30-11:05", "2026-12-07", "UTC"))) == [10]
    assert list(shown(cut("10:55-11:05", "2026-12-07", "UTC"))) == [10, 11]


def test_what_has_passed_is_not_open() -> None:
    now = datetime(2026, 12, 7, 11, 20, tzinfo=UTC)
    assert shown(cut("10:00-13:00", "2026-12-07", "UTC", now=now)) == {11: "11:20-12:00", 12: "12:00-13:00"}


def test_with_late_next_it_is_the_following_dates_window() -> None:
    now = datetime(2026, 12, 7, 15, tzinfo=UTC)
    found = cut("10:00-12:00", "2026-12-07", "UTC", now=now, late=True)
    assert found is not None
    assert found.weekday == 1
    assert [start.day for start, _ in found.pieces.values()] == [8, 8]


def test_quiet_hours_are_no_open_hours() -> None:
    """Marketing SMS in France: not before 10:00 (see quiet_hours.yaml)."""
    all_day = cut("00:00-24:00", "2026-12-07", "Europe/Paris", channel="sms", quiet=QuietHours.load(None))
    assert all_day is not None
    assert CODES[3] not in all_day.codes
    assert CODES[11] in all_day.codes
    assert sorted(all_day.codes + all_day.shut) == sorted(CODES)


@pytest.mark.parametrize(("key", "hours"), [("country:DE", [12, 13]), ("country:IN", [12, 13]), ("country:ID", [])])
def test_only_hours_that_all_clocks_agree_on(key: str, hours: list[int]) -> None:
    """Indonesia has three clocks: between 12:00 and 15:00 there is an hour that all are inside, but no hour of all."""
    window = "12:00-14:00" if hours else "12:00-15:00"
    assert list(shown(cut(window, "2026-12-07", key))) == hours
