"""What windows are checked against: every minute, asked of zoneinfo's own conversion, one at a time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from orchestrator.timing.window import Window
from orchestrator.timing.zonedata import canonical_zones

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


@cache
def transitions() -> tuple[tuple[str, date], ...]:
    """Every (zone, UTC date) on which a clock that people live by changes in 2026 to 2028."""
    found = []
    for zone in canonical_zones():
        info, at = ZoneInfo(zone), datetime(2026, 1, 1, tzinfo=UTC)
        while at.year < 2029:
            if at.astimezone(info).utcoffset() != (at + DAY).astimezone(info).utcoffset():
                found.append((zone, at.date()))
            at += DAY
    return tuple(found)


def distinct_transitions() -> list[tuple[str, date]]:
    """One zone for all that change on the same date from the same offset to the same other."""
    seen: dict[tuple[date, object, object], str] = {}
    for zone, day in transitions():
        begins = datetime(day.year, day.month, day.day, tzinfo=UTC)
        before, after = (t.astimezone(ZoneInfo(zone)).utcoffset() for t in (begins - DAY, begins + 2 * DAY))
        seen.setdefault((day, before, after), zone)
    return [(zone, key[0]) for key, zone in seen.items()]


def minutes_around(day: date) -> list[datetime]:
    """Every minute that could be in a window of ``day`` anywhere."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=16)
    return [start + n * MINUTE for n in range(72 * 60)]


def is_inside(window: Window, day: date, wall: datetime) -> bool:
    """Whether a wall clock that shows ``wall`` is inside the window of ``day``: by its definition alone."""
    shown = (wall.date() - day).days * 1440 + wall.hour * 60 + wall.minute
    return any(start <= shown < end for start, end, days in window.parts if day.weekday() in days)


def differences(window: Window, day: date, zone: str) -> list[datetime]:
    """The minutes at which the window and the oracle disagree."""
    info, found = ZoneInfo(zone), window.on(day, zone)
    return [t for t in minutes_around(day) if (t in found) != is_inside(window, day, t.astimezone(info))]
