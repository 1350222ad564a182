"""The resolver and the single form: one answer each, the most binding reason first."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from orchestrator.policy.decide import Standing, objection
from orchestrator.policy.resolver import Drop, Hold, Opening, Rule, Send, opening, resolve
from orchestrator.timing.calendars import Holidays
from orchestrator.timing.instants import InstantSet
from orchestrator.timing.quiet import QuietHours
from orchestrator.timing.window import Window

MONDAY = date(2026, 12, 7)
QUIET = QuietHours.load(None)
HOUR = timedelta(hours=1)


def rule(window: str, *days: date, channel: str = "push", expires: timedelta = 48 * HOUR) -> Rule:
    return Rule(channel, Window.parse(window), days or (MONDAY,), expires)


def utc(hour: int, minute: int = 0, day: int = 7) -> datetime:
    return datetime(2026, 12, day, hour, minute, tzinfo=UTC)


def test_a_window_is_the_recipients_own() -> None:
    door = opening(rule("10:30-11:45"), "Europe/Berlin", "DE", QUIET)
    assert door.allowed.intervals == ((utc(9, 30), utc(10, 45)),)
    assert resolve(door, utc(9, 29)) == Hold(utc(9, 30), "window")
    assert resolve(door, utc(9, 30)) == Send(utc(10, 45))
    assert resolve(door, utc(10, 45)) == Drop("late")  # half-open


def test_late_next_opens_again_on_the_following_date_within_its_expiry() -> None:
    both = rule("10:30-11:45", MONDAY, date(2026, 12, 8))
    assert resolve(opening(both, "Europe/Berlin", "DE", QUIET), utc(11)) == Hold(utc(9, 30, 8), "window")
    short = rule("10:30-11:45", MONDAY, date(2026, 12, 8), expires=2 * HOUR)
    assert resolve(opening(short, "Europe/Berlin", "DE", QUIET), utc(11)) == Drop("late")


def test_expiry_cuts_an_opening_short() -> None:
    door = opening(rule("09:00-18:00", expires=HOUR), "Europe/Berlin", "DE", QUIET)
    assert door.allowed.intervals == ((utc(8), utc(9)),)


@pytest.mark.parametrize(
    ("window", "key", "reason"),
    [
        ("22:00-23:00", "Europe/Berlin", "quiet_hours"),
        ("10:30-11:45", "", "zone_unknown"),
        ("10:30-11:45", "country:RU", "zone_unknown"),
    ],
)
def test_no_opening_says_why(window: str, key: str, reason: str) -> None:
    door = opening(rule(window), key, "", QUIET)
    assert not door.allowed
    assert resolve(door, utc(0)) == Drop(reason)


@pytest.mark.parametrize(
    ("holidays", "day", "country", "reason"),
    [
        (Holidays.SKIP, date(2026, 12, 25), "DE", "holiday"),
        (Holidays.SKIP, date(2026, 12, 25), "CN", None),  # no holiday there
        (Holidays.SKIP, date(2026, 12, 25), "", None),  # nobody knows where they live: no holiday is known
        (Holidays.SKIP, date(2026, 12, 24), "DE", None),
        (Holidays.ONLY, date(2026, 12, 25), "DE", None),
        (Holidays.ONLY, date(2026, 12, 24), "DE", "holiday"),
        (Holidays.ONLY, date(2026, 12, 25), "", "holiday"),
        (Holidays.IGNORE, date(2026, 12, 25), "DE", None),
    ],
)
def test_holidays_are_those_of_the_members_country(
    holidays: Holidays, day: date, country: str, reason: str | None
) -> None:
    door = opening(replace(rule("10:30-11:45", day), holidays=holidays), "Europe/Berlin", country, QUIET)
    assert door.reason == reason
    assert bool(door.allowed) == (reason is None)


def test_late_next_skips_the_holiday_and_keeps_the_other_date() -> None:
    both = replace(rule("10:30-11:45", date(2026, 12, 25), date(2026, 12, 28)), holidays=Holidays.SKIP)
    door = opening(both, "Europe/Berlin", "DE", QUIET)
    assert [start.day for start, _ in door.allowed.intervals] == [28]


def test_a_window_in_a_gap_of_the_clocks_does_not_exist() -> None:
    spring = Rule("push", Window.parse("02:10-02:50"), (date(2027, 3, 28),), 48 * HOUR)
    assert resolve(opening(spring, "Europe/Berlin", "DE", QuietHours([])), utc(0)) == Drop("no_window")


def test_quiet_hours_cut_a_window_that_reaches_into_them() -> None:
    door = opening(rule("19:00-23:00"), "Europe/Berlin", "DE", QUIET)
    assert door.allowed.intervals[-1][1] < utc(22)
    assert resolve(door, utc(21, 30)) == Drop("late")


def test_a_country_with_one_legal_time_is_known_well_enough() -> None:
    assert opening(rule("10:30-11:45"), "country:CN", "CN", QUIET).allowed.intervals == ((utc(2, 30), utc(3, 45)),)


def test_two_openings_hold_between_and_send_until_the_end_of_their_own() -> None:
    door = Opening(InstantSet(((utc(9), utc(10)), (utc(12), utc(13)))))
    assert [resolve(door, utc(hour)) for hour in (9, 10, 12, 13)] == [
        Send(utc(10)),
        Hold(utc(12), "window"),
        Send(utc(13)),
        Drop("late"),
    ]


@pytest.mark.parametrize(
    ("standing", "reason"),
    [
        (Standing(consented=True, suppressed=False, reachable=True), None),
        (Standing(consented=True, suppressed=False, reachable=False), "no_address"),
        (Standing(consented=False, suppressed=False, reachable=False), "no_consent"),
        (Standing(consented=False, suppressed=True, reachable=False), "suppressed"),
        (Standing(consented=False, suppressed=True, reachable=False, excluded=True), "excluded"),
        (Standing(consented=True, suppressed=False, reachable=True, excluded=True), "excluded"),
    ],
)
def test_the_most_binding_reason_is_named(standing: Standing, reason: str | None) -> None:
    assert objection(standing) == reason
