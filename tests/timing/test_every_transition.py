"""Promises R9: every zone × every change of its clocks until 2028 × ten windows × three kinds of events.

A case is one (zone, local date, window, kind): each of its 4,320 minutes is asked of zoneinfo itself. 500,000 cases and
more at night; five per cent of them, a stable part, on every run. The kinds are the three moments at which a window
decides: when a message is planned (it gets the first minute that is inside), when it is claimed or marked (inside, or
held until when), and what the provider is given (the end of the opening).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zlib import crc32
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from orchestrator.errors import InputError
from orchestrator.policy.resolver import Drop, Hold, Opening, Send, resolve
from orchestrator.timing.instants import InstantSet
from orchestrator.timing.window import Window
from orchestrator.timing.zonedata import zone_names
from tests.nightly import FULL
from tests.timing.oracle import DAY, MINUTE, minutes_around

Minutes = np.ndarray[tuple[int], np.dtype[np.int64]]
Inside = np.ndarray[tuple[int], np.dtype[np.bool_]]
WINDOWS = tuple(
    Window.parse(text)
    for text in (
        "00:00-24:00",
        "22:00-02:00",
        "01:00-03:00",
        "23:30-00:30",
        "00:15-00:45, 01:45-02:15",
        "10:30-11:45",
        "02:30-02:31",
        "mon-fri 10:30-11:45, sat-sun 01:30-02:45",
        "sat 22:00-08:00, sun 12:00-14:00",
        "00:00-00:01, 23:59-24:00",
    )
)
DAYS = tuple(timedelta(days=n) for n in range(-4, 5))
SHARE = 5
"""Per cent of the cases on every run."""


@cache
def changes(zone: str) -> tuple[date, ...]:
    """The UTC dates on which a zone's clock changes in 2026 to 2028; three ordinary ones where it never does."""
    info, at, found = ZoneInfo(zone), datetime(2026, 1, 1, tzinfo=UTC), []
    while at.year < 2029:
        if at.astimezone(info).utcoffset() != (at + DAY).astimezone(info).utcoffset():
            found.append(at.date())
        at += DAY
    return tuple(found) or (date(2026, 3, 1), date(2027, 7, 1), date(2028, 2, 29))


def dates() -> Iterator[tuple[str, date]]:
    """The zones and local dates that are looked at in this run."""
    for zone in sorted(zone_names()):
        for day in {change + near for change in changes(zone) for near in DAYS}:
            if FULL or crc32(f"{zone}{day}".encode()) % 100 < SHARE:
                yield zone, day


def shown(zone: str, day: date) -> Minutes:
    """What the wall clock shows at every minute around a date, in minutes since that date began: by zoneinfo alone."""
    info = ZoneInfo(zone)
    walls = (at.astimezone(info) for at in minutes_around(day))
    return np.array([(wall.date() - day).days * 1440 + wall.hour * 60 + wall.minute for wall in walls])


def oracle(window: Window, day: date, clock: Minutes) -> Inside:
    """The minutes that are inside, by the definition: what the clock shows is."""
    inside = np.zeros(len(clock), dtype=bool)
    for start, end, days in window.parts:
        if day.weekday() in days:
            inside |= (clock >= start) & (clock < end)
    return inside


def minutes_of(found: InstantSet, start: datetime) -> Inside:
    """The same of a set of instants."""
    inside = np.zeros(72 * 60, dtype=bool)
    for opens, closes in found.intervals:
        inside[-(-(opens - start) // MINUTE) : -(-(closes - start) // MINUTE)] = True
    return inside


def wrong(found: InstantSet, inside: Inside, start: datetime) -> list[str]:
    """The kinds of events for which a set of instants is not what the oracle says."""
    kinds = []
    if not np.array_equal(minutes_of(found, start), inside):
        kinds.append("claimed")
    if _first(found, start) != _first_inside(inside, start):
        kinds.append("planned")
    if _end(found, start) != _end_inside(inside, start):
        kinds.append("ttl")
    return kinds


def _first(found: InstantSet, start: datetime) -> datetime | None:
    answer = resolve(Opening(found), start)
    match answer:
        case Hold(until, _):
            return until
        case Send():
            return start
        case Drop():
            return None


def _first_inside(inside: Inside, start: datetime) -> datetime | None:
    return start + int(inside.argmax()) * MINUTE if inside.any() else None


def _end(found: InstantSet, start: datetime) -> datetime | None:
    """Until when a provider may try, at the first minute that is inside."""
    first = _first(found, start)
    answer = None if first is None else resolve(Opening(found), first)
    return answer.until if isinstance(answer, Send) else None


def _end_inside(inside: Inside, start: datetime) -> datetime | None:
    if not inside.any():
        return None
    first = int(inside.argmax())
    outside = np.flatnonzero(~inside[first:])
    return start + (first + int(outside[0])) * MINUTE if len(outside) else start + len(inside) * MINUTE


def whole_minutes(zone: str, day: date) -> bool:
    """A few zones of history differ from UTC by seconds: not in these years."""
    return (
        datetime(day.year, day.month, day.day, tzinfo=UTC).astimezone(ZoneInfo(zone)).utcoffset() or MINUTE
    ) % MINUTE == timedelta(0)


def test_nothing_differs_from_the_minutes() -> None:
    cases = 0
    for zone, day in dates():
        assert whole_minutes(zone, day)
        clock, start = shown(zone, day), minutes_around(day)[0]
        for window in WINDOWS:
            assert wrong(window.on(day, zone), oracle(window, day, clock), start) == [], (zone, day, window)
            cases += 3
    assert cases >= (500_000 if FULL else 20_000), cases


def test_an_offset_kept_for_the_whole_day_is_caught() -> None:
    """The naive variant: one UTC offset for a local date, as it is at its noon (or midnight, or now)."""

    def naive(window: Window, day: date, zone: str, hour: int) -> InstantSet:
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        offset = (midnight + timedelta(hours=hour)).astimezone(ZoneInfo(zone)).utcoffset() or timedelta()
        parts = [part for part in window.parts if day.weekday() in part.days]
        return InstantSet.of((midnight + p.start * MINUTE - offset, midnight + p.end * MINUTE - offset) for p in parts)

    caught: dict[int, set[str]] = {0: set(), 12: set()}
    for zone in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo"):
        for change in changes(zone):
            for day in (change - DAY, change, change + DAY):
                clock, start = shown(zone, day), minutes_around(day)[0]
                for window in WINDOWS:
                    for hour, kinds in caught.items():
                        kinds.update(wrong(naive(window, day, zone, hour), oracle(window, day, clock), start))
    assert caught == {0: {"claimed", "planned", "ttl"}, 12: {"claimed", "planned", "ttl"}}


@pytest.mark.parametrize("text", ["10:00-10:00", "00:00-00:00", "24:00-24:00", "mon 09:00-09:00, tue 10:00-11:00"])
def test_a_window_of_no_length_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        Window.parse(text)
