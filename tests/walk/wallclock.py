"""When something may leave, by looking at the clock on the wall: every five minutes, one zone at a time.

The walk's own answer to windows, quiet hours, lateness and expiry. It shares nothing with the code but the zone data:
an instant is inside when the recipient's wall clock at that instant is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache

from orchestrator.audience.whereabouts import zone
from orchestrator.timing.zones import candidates, country_of

TICK = 300
"""Seconds. Windows here begin and end on five minutes, and so do all changes of all clocks."""
_DAY = 24 * 60
ANYWHERE = ("Pacific/Kiritimati", "Pacific/Niue")
"""Where nothing is known of somebody: two clocks more than a day apart, so that no window fits both."""
QUIET_COUNTRY, QUIET_CHANNEL, QUIET_FROM, QUIET_UNTIL = "PT", "sms", 20 * 60, 10 * 60


@dataclass(frozen=True, slots=True)
class Hours:
    """A window in minutes of the wall clock; over 1440: the next date's."""

    start: int
    end: int

    @property
    def text(self) -> str:
        """As it stands in a campaign file."""
        return f"{_clock(self.start)}-{_clock(self.end)}"


def _clock(minutes: int) -> str:
    hours = minutes // 60
    return f"{hours if hours <= 24 else hours - 24:02}:{minutes % 60:02}"


@dataclass(frozen=True, slots=True)
class Open:
    """The ticks at which a class may be sent to; ``why``: why there are none."""

    ticks: frozenset[int]
    why: str | None = None

    def end_of(self, now: datetime) -> datetime | None:
        """Until when it goes on from ``now``; None when it is shut."""
        tick = tick_of(now)
        if tick not in self.ticks:
            return None
        while tick in self.ticks:
            tick += 1
        return instant(tick)

    def next(self, now: datetime) -> datetime | None:
        """The first instant from ``now`` on at which it is open."""
        if tick_of(now) in self.ticks:
            return now
        later = [tick for tick in self.ticks if tick > tick_of(now)]
        return instant(min(later)) if later else None

    @property
    def closes(self) -> datetime:
        """The end of its last opening."""
        return instant(max(self.ticks) + 1)


def tick_of(at: datetime) -> int:
    """The tick that an instant lies in."""
    return int(at.timestamp()) // TICK


def instant(tick: int) -> datetime:
    """The beginning of a tick."""
    return datetime.fromtimestamp(tick * TICK, UTC)


def zones_of(key: str) -> tuple[str, ...]:
    """The clocks that may be somebody's."""
    return candidates(key) if key else ANYWHERE


@lru_cache(maxsize=1 << 20)
def shown(zone_name: str, tick: int) -> tuple[int, int]:
    """What a wall clock shows: the date's ordinal and the minute of the day."""
    wall = instant(tick).astimezone(zone(zone_name))
    return wall.toordinal(), wall.hour * 60 + wall.minute


def _ticks_around(day: date) -> Iterator[int]:
    """Every tick that could be in a window of ``day`` anywhere."""
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) // TICK
    return iter(range(midnight - 15 * 3600 // TICK, midnight + (24 + 24 + 13) * 3600 // TICK))


@cache
def _inside(hours: Hours, day: date, key: str) -> frozenset[int]:
    def fits(tick: int, name: str) -> bool:
        ordinal, minute = shown(name, tick)
        return hours.start <= (ordinal - day.toordinal()) * _DAY + minute < hours.end

    found = list(_ticks_around(day))
    for name in zones_of(key):
        found = [tick for tick in found if fits(tick, name)]
    return frozenset(found)


def _quiet(channel: str, key: str, country: str, tick: int) -> bool:
    if channel != QUIET_CHANNEL or (country or country_of(key)) != QUIET_COUNTRY:
        return False
    minutes = (shown(name, tick)[1] for name in zones_of(key))
    return any(minute >= QUIET_FROM or minute < QUIET_UNTIL for minute in minutes)


@cache
def opened(hours: Hours, days: tuple[date, ...], expires: timedelta, channel: str, key: str, country: str) -> Open:
    """When a class may get a message of a run with these dates."""
    ticks = frozenset[int]().union(*(_inside(hours, day, key) for day in days))
    if not ticks:
        return Open(ticks, "zone_unknown" if len(zones_of(key)) > 1 else "no_window")
    first = min(ticks)
    loud = frozenset(tick for tick in ticks if not _quiet(channel, key, country, tick))
    if not loud:
        return Open(loud, "quiet_hours")
    last = first + int(expires.total_seconds()) // TICK
    return Open(frozenset(tick for tick in loud if tick < last))
