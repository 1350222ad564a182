"""Calendars: which dates people have off, and on which weekend days they work all the same.

Public holidays are those of the ``holidays`` package, for a country (``CN``) or a part of it (``DE-BY``); for China
they include the days that are swapped. A deployment's own calendars add dates and take dates away. The package knows
what has been announced: swapped days of the coming years appear in it once the government has said them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import lru_cache

from orchestrator.errors import InputError, did_you_mean

_WEEKEND = 5
_MOST_YEARS = 4096


class Holidays(StrEnum):
    """What a schedule makes of holidays."""

    IGNORE = "ignore"
    SKIP = "skip"
    ONLY = "only"

    def permit(self, calendar: Calendar, day: date) -> bool:
        """Whether something may happen on a date of this calendar."""
        return self is Holidays.IGNORE or calendar.is_holiday(day) == (self is Holidays.ONLY)


@dataclass(frozen=True, slots=True)
class Calendar:
    """A region's holidays, with ``added`` ones and without ``removed`` ones; ``worked`` are weekend days worked."""

    region: str = ""
    added: frozenset[date] = frozenset()
    removed: frozenset[date] = frozenset()
    worked: frozenset[date] = frozenset()

    def is_holiday(self, day: date) -> bool:
        """Whether people have this date off as a holiday: a weekend is none by itself."""
        if day in self.added:
            return True
        return day not in self.removed and day in _year(self.region, day.year)[0]

    def is_workday(self, day: date) -> bool:
        """Whether people work on this date: Monday to Friday but for holidays, and weekend days swapped for one."""
        swapped = day in self.worked or (day not in self.removed and day in _year(self.region, day.year)[1])
        return swapped or (day.weekday() < _WEEKEND and not self.is_holiday(day))


@lru_cache(maxsize=512)
def calendar_of(region: str) -> Calendar:
    """The public holidays of a country (``CN``) or a part of one (``US-CA``); no holidays where nobody knows any.

    A part that the package does not know has its country's.
    """
    country, _, part = region.upper().partition("-")
    known = _supported()
    if country not in known:
        return Calendar()
    return Calendar(f"{country}-{part}" if part in known[country] else country)


def named_calendar(region: str) -> Calendar:
    """The calendar of a region that somebody wrote down.

    Raises:
        InputError: there is none of that name.
    """
    country, dash, part = region.partition("-")
    known = _supported()
    if country not in known:
        raise InputError(f"there is no calendar {region[:20]!r}", hint=did_you_mean(country[:20], known) or "like CN")
    if dash and part not in known[country]:
        hint = did_you_mean(part[:20], known[country]) or f"{country} alone"
        raise InputError(f"{country} has no part {part[:20]!r} with holidays of its own", hint=hint)
    return Calendar(region)


def parts_of(country: str) -> frozenset[str]:
    """The parts of a country whose holidays are known, as ``US-FL``."""
    return frozenset(f"{country}-{part}" for part in _supported().get(country, ()))


def without_holidays(countries: Iterable[str]) -> list[str]:
    """Those of the countries whose holidays nobody knows."""
    return sorted(set(countries) - _supported().keys())


def divided_countries() -> frozenset[str]:
    """The countries of which parts are known."""
    return frozenset(country for country, parts in _supported().items() if parts)


def holiday_name(region: str, day: date) -> str:
    """What a public holiday of a region is called, in English where that is known; "" when it is none."""
    where = calendar_of(region)
    if not where.region or not where.is_holiday(day):
        return ""
    return _names(where.region, day.year).get(day, "")


@lru_cache(maxsize=_MOST_YEARS)
def _names(region: str, year: int) -> dict[date, str]:
    import holidays

    country, _, part = region.partition("-")
    found = holidays.country_holidays(country, subdiv=part or None, years=year, language="en_US")
    return dict(found)


@lru_cache(maxsize=1)
def _supported() -> dict[str, frozenset[str]]:
    import holidays  # 30 ms, and many campaigns never ask

    return {country: frozenset(parts) for country, parts in holidays.list_supported_countries().items()}


@lru_cache(maxsize=_MOST_YEARS)
def _year(region: str, year: int) -> tuple[frozenset[date], frozenset[date]]:
    """Holidays, and weekend days that are worked, of one year."""
    if not region:
        return frozenset(), frozenset()
    import holidays

    country, _, part = region.partition("-")
    found = holidays.country_holidays(country, subdiv=part or None, years=year)
    worked = getattr(found, "weekend_workdays", ())
    return frozenset(day for day in found if day.year == year), frozenset(day for day in worked if day.year == year)
