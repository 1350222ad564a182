"""When members may get the message of an instant: against an oracle that walks the minutes; naive rules are caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.policy.resolver import Drop, Hold, Rule, Send, last_end, opening, own_date, resolve
from orchestrator.timing.calendars import Holidays
from orchestrator.timing.instants import InstantSet
from orchestrator.timing.quiet import NEVER_QUIET, QuietHours
from orchestrator.timing.window import Window
from orchestrator.timing.zones import candidates
from tests.timing.oracle import DAY, MINUTE, distinct_transitions, is_inside

HOUR = timedelta(hours=1)
QUIET = QuietHours.load(None)
EVENING = datetime(2026, 12, 24, 10, tzinfo=UTC)
"""18:00 in Shanghai, 11:00 in Berlin, 02:00 in Vancouver (on permanent summer time: 03:00)."""
WINDOWS = (
    "10:30-11:45",
    "22:00-02:00",
    "00:00-24:00",
    "09:00-10:00, 17:00-18:30",
    "mon-fri 08:00-20:00",
    "02:15-02:45",
)
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Asia/Shanghai",
    "Australia/Lord_Howe",
    "Pacific/Kiritimati",
    "Etc/GMT+12",
)
STEP = 5 * MINUTE

Allowed = Callable[[Rule, str], InstantSet]


def rule(window: str | None, at: datetime = EVENING, expires: timedelta = DAY, *, goes_on: bool = False) -> Rule:
    return Rule("push", Window.parse(window) if window else None, (), expires, not_before=at, next_date=goes_on)


@cache
def oracle(asked: Rule, zone: str) -> frozenset[datetime]:
    """Every fifth minute that one zone's clock allows, by the words of the contract alone."""
    since, info = asked.not_before, ZoneInfo(zone)
    assert since is not None
    minutes = [since + n * STEP for n in range(10 * 288)]
    if asked.window is None:
        return frozenset(at for at in minutes if at < since + asked.expires_after)
    window, today = asked.window, since.astimezone(info).date()

    def inside(day: date, at: datetime) -> bool:
        return is_inside(window, day, at.astimezone(info).replace(tzinfo=None))

    own = today - DAY if inside(today - DAY, since) else today
    base = next((at for at in minutes if inside(own, at)), since)
    days = [own]
    if asked.next_date:
        later = (own + n * DAY for n in range(1, 9))
        days += [next(day for day in later if any(inside(day, since + n * STEP) for n in range(-288, 12 * 288)))]
    return frozenset(
        at for at in minutes if base <= at < base + asked.expires_after and any(inside(day, at) for day in days)
    )


def agrees(allowed: Allowed, asked: Rule, key: str) -> bool:
    wanted = frozenset.intersection(*(oracle(asked, zone) for zone in candidates(key)))
    assert asked.not_before is not None
    found = allowed(asked, key)
    minutes = (asked.not_before + n * STEP for n in range(10 * 288))
    return frozenset(at for at in minutes if at in found) == wanted and asked.not_before - STEP not in found


def ours(asked: Rule, key: str) -> InstantSet:
    return opening(asked, key, "", NEVER_QUIET).allowed


@st.composite
def some(draw: st.DrawFn) -> tuple[Rule, str]:
    zone, day = draw(st.sampled_from(distinct_transitions()))
    zone = draw(st.just(zone) | st.sampled_from(ZONES))
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    at = midnight - DAY + draw(st.integers(0, 3 * 288)) * STEP
    expires = draw(st.sampled_from([HOUR, 6 * HOUR, DAY, 60 * HOUR]))
    window = draw(st.sampled_from([None, *WINDOWS]))
    return rule(window, at, expires, goes_on=window is not None and draw(st.booleans())), zone


@settings(max_examples=60, deadline=None)
@given(some())
def test_around_every_change_of_clocks_it_is_what_the_members_clock_says(case: tuple[Rule, str]) -> None:
    assert agrees(ours, *case)


@pytest.mark.parametrize("key", ["country:AU", "country:PT", "country:RU"])
@pytest.mark.parametrize("window", [None, "10:30-11:45", "08:00-22:00"])
def test_of_several_zones_all_have_to_allow_it(window: str | None, key: str) -> None:
    asked = rule(window, expires=10 * HOUR)
    assert agrees(ours, asked, key)
    door = opening(asked, key, "", NEVER_QUIET)
    assert door.allowed or door.reason in {"zone_unknown", "late"}


def in_utc(asked: Rule, key: str) -> InstantSet:
    """Naive: the window of the date that it is in UTC."""
    assert asked.not_before is not None
    assert asked.window is not None
    found = asked.window.on(asked.not_before.date(), key)
    return found.clip(asked.not_before, asked.not_before + 10 * DAY)


def without_the_night(asked: Rule, key: str) -> InstantSet:
    """Naive: the window of the local date, though yesterday's is still open."""
    assert asked.not_before is not None
    assert asked.window is not None
    today = asked.not_before.astimezone(ZoneInfo(key)).date()
    return asked.window.on(today, key).clip(asked.not_before, asked.not_before + DAY)


@pytest.mark.parametrize(
    ("naive", "window", "at", "zone"),
    [
        (in_utc, "09:00-12:00", datetime(2026, 12, 24, 20, tzinfo=UTC), "Pacific/Auckland"),
        (without_the_night, "22:00-02:00", datetime(2026, 12, 24, 0, 30, tzinfo=UTC), "Europe/Berlin"),
    ],
)
def test_naive_rules_are_caught(naive: Allowed, window: str, at: datetime, zone: str) -> None:
    assert agrees(ours, rule(window, at), zone)
    assert not agrees(naive, rule(window, at), zone)


@pytest.mark.parametrize(
    ("zone", "said"),
    [
        ("America/New_York", Hold(datetime(2026, 12, 24, 15, 30, tzinfo=UTC), "window")),  # 05:00 there: early
        ("Europe/Berlin", Send(datetime(2026, 12, 24, 10, 45, tzinfo=UTC))),  # 11:00: now
        ("Asia/Shanghai", Drop("late")),  # 18:00: over
    ],
)
def test_early_waits_open_goes_late_is_dropped(zone: str, said: object) -> None:
    assert resolve(opening(rule("10:30-11:45"), zone, "", QUIET), EVENING) == said


def test_late_next_waits_for_the_next_date_within_its_expiry() -> None:
    late = rule("10:30-11:45", goes_on=True)
    said = resolve(opening(late, "Asia/Shanghai", "", QUIET), EVENING)
    assert said == Hold(datetime(2026, 12, 25, 2, 30, tzinfo=UTC), "window")
    short = replace(late, expires_after=6 * HOUR)
    assert resolve(opening(short, "Asia/Shanghai", "", QUIET), EVENING) == Drop("late")
    workdays = replace(late, window=Window.parse("mon-thu 10:30-11:45"), expires_after=5 * DAY)
    said = resolve(opening(workdays, "Asia/Shanghai", "", QUIET), EVENING)
    assert said == Hold(datetime(2026, 12, 28, 2, 30, tzinfo=UTC), "window")


@pytest.mark.parametrize("key", ["Asia/Shanghai", "country:US", ""])
def test_without_a_window_it_is_the_same_instant_for_everybody(key: str) -> None:
    door = opening(rule(None, expires=HOUR), key, "", NEVER_QUIET)
    assert door.allowed.intervals == ((EVENING, EVENING + HOUR),)


def test_quiet_hours_hold_there_too() -> None:
    night = datetime(2026, 12, 24, 20, tzinfo=UTC)  # 21:00 in Paris, where push is quiet by then
    french = opening(rule(None, night, HOUR), "Europe/Paris", "FR", QUIET)
    assert opening(rule(None, night, HOUR), "Europe/Paris", "FR", NEVER_QUIET).allowed
    assert bool(french.allowed) == (not QUIET.quiet("push", "FR", "Europe/Paris", night, night + HOUR))
    texts = replace(rule(None, night, HOUR), channel="sms")
    assert opening(texts, "Europe/Paris", "FR", QUIET).reason == "quiet_hours"


def test_a_members_holiday_is_that_of_their_own_date() -> None:
    asked = replace(rule(None, datetime(2026, 12, 24, 23, 30, tzinfo=UTC), HOUR), holidays=Holidays.SKIP)
    assert opening(asked, "Europe/Berlin", "DE", QUIET).reason == "holiday"  # 00:30 on Christmas Day
    assert opening(asked, "Europe/London", "GB", NEVER_QUIET).allowed  # 23:30 on the 24th


def test_after_the_window_of_no_weekday_there_is_none() -> None:
    door = opening(rule("mon-wed 10:30-11:45"), "Europe/Berlin", "", QUIET)  # a Thursday
    assert door.reason == "no_window"


@settings(max_examples=25, deadline=None)
@given(some())
def test_nothing_of_it_leaves_after_its_end(case: tuple[Rule, str]) -> None:
    asked, zone = case
    allowed = ours(asked, zone)
    assert not allowed or allowed.intervals[-1][1] <= last_end(asked)


def test_the_own_date_is_the_one_whose_night_it_is() -> None:
    night = Window.parse("22:00-02:00")
    at = datetime(2026, 12, 24, 0, 30, tzinfo=UTC)
    assert own_date(night, at, "Europe/Berlin") == date(2026, 12, 23)
    assert own_date(night, at + HOUR, "Europe/Berlin") == date(2026, 12, 24)
    assert own_date(None, at, "Europe/Berlin") == date(2026, 12, 24)
