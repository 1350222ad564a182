"""On which local date something happened to a user, as a stretch of instants for every zone key.

Where the zone is not known exactly, a date begins and ends where it does so last among the candidates. So everything
that happened to a user has exactly one date, whatever is known of their zone: at most a day off, never none and never
two. (When something may be *sent* is another question: there all candidates have to agree.)
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import lru_cache

from orchestrator.timing.instants import Interval
from orchestrator.timing.window import Window
from orchestrator.timing.zonedata import zone_names, zones_by_country
from orchestrator.timing.zones import COUNTRY_PREFIX, candidates

_WHOLE_DAY = Window.parse("00:00-24:00")
_DAY = timedelta(days=1)


def instants_of(first: date, last: date, key: str) -> Interval:
    """The instants of the dates from ``first`` to ``last``, both included, for users with this zone key."""
    return _end(first - _DAY, key), _end(last, key)


def date_of(instant: datetime, key: str) -> date:
    """The one date of what happened at an instant, for users with this zone key."""
    day = instant.date() + _DAY
    while instant < _end(day - _DAY, key):
        day -= _DAY
    return day


@lru_cache(maxsize=64)
def by_instants(first: date, last: date) -> tuple[tuple[Interval, tuple[str, ...]], ...]:
    """The same for every zone key there can be: keys that share their instants together, earliest first."""
    keys = ["", *(COUNTRY_PREFIX + code for code in zones_by_country()), *zone_names()]
    found: dict[Interval, list[str]] = {}
    for key in sorted(keys):
        found.setdefault(instants_of(first, last, key), []).append(key)
    return tuple((span, tuple(found[span])) for span in sorted(found))


def _end(day: date, key: str) -> datetime:
    return max(_end_in(day, zone) for zone in candidates(key))


@lru_cache(maxsize=16384)
def _end_in(day: date, zone: str) -> datetime:
    """The last instant's end: where clocks go back over midnight, a date begins when the one before is over for good.

    A date that a zone left out (Apia, 30 December 2011) ends with the one before.
    """
    inside = _WHOLE_DAY.on(day, zone)
    return inside.intervals[-1][1] if inside else _end_in(day - _DAY, zone)
