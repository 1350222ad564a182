"""When somebody usually opens the app: a histogram over the hours of the week, decayed, smoothed, and shrunk.

An open counts in the hour of the week (0 = Monday, 00:00) that its user's own wall clock showed, with a weight that
halves every half-life. Few opens say little about 168 hours: an open counts half in its hour and a quarter in each
neighbour, and half of all that counts for the same hour of every weekday. To this the population's histogram is added
as if it were ``pseudo`` opens more (the mean of a Dirichlet posterior, but for a factor): the fewer and older the own
opens, the more it says.

What is kept of a user is the order of their best hours for each weekday, as one short text that SQL can search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from orchestrator.clock import EPOCH
from orchestrator.timing.zones import candidates

WEEK_HOURS = 168
_DAY_HOURS = 24
_DAYS = 7
DATE_HOURS = 30
"""A date's hours go on until six in the next morning: windows may go over midnight."""
CODES = "abcdefghijklmnopqrstuvwxyz0123"
"""A letter for each hour of a date: ``a`` is 00:00, ``x`` 23:00, ``y`` 00:00 of the next."""
KEPT = 8
"""How many of a date's hours are kept of a user; in a window without any of them the population's best counts."""
LOOK_BACK = timedelta(days=180)
"""Older opens are not looked at."""
QUARTER = 900_000_000
"""A quarter of an hour in microseconds: no zone's offset is finer."""
_OWN_DAY = 0.5
"""The part of an open that counts for its weekday alone; the rest counts for all seven."""


@dataclass(frozen=True, slots=True)
class Habits:
    """What a deployment sets: how fast opens fade, how many it takes, what the population weighs (in opens)."""

    half_life: timedelta = timedelta(days=28)
    least_history: int = 5
    pseudo: float = 20.0
    event: str = "app_open"


def hour_of_week(micros: int, zone_key: str) -> int | None:
    """The hour of the week on the user's own clock; None when the zones they may be in do not agree on it."""
    return _hour_of_week(micros // QUARTER, zone_key)


@lru_cache(maxsize=1 << 17)
def _hour_of_week(quarter: int, zone_key: str) -> int | None:
    at = EPOCH + timedelta(microseconds=quarter * QUARTER)
    found: int | None = None
    for zone in candidates(zone_key):
        local = at.astimezone(ZoneInfo(zone))
        cell = local.weekday() * _DAY_HOURS + local.hour
        if found is not None and found != cell:
            return None
        found = cell
    return found


def weight(age_micros: int, half_life: timedelta) -> float:
    """What an open of that age counts; one from the future (clocks differ) counts as now."""
    return float(2.0 ** (-max(age_micros, 0) / (half_life.total_seconds() * 1e6)))


def smoothed(own: Mapping[int, float]) -> list[float]:
    """Own opens by hour of the week, spread over neighbouring hours and over the same hour of the other weekdays."""
    cells, daily = [0.0] * WEEK_HOURS, [0.0] * _DAY_HOURS
    for cell, count in own.items():
        for near, part in ((cell - 1, count / 4), (cell, count / 2), (cell + 1, count / 4)):
            cells[near % WEEK_HOURS] += part * _OWN_DAY
            daily[near % _DAY_HOURS] += part * (1 - _OWN_DAY) / _DAYS
    return [one + every for one, every in zip(cells, daily * _DAYS, strict=True)]


def prior(population: Sequence[float], pseudo: float) -> list[float]:
    """The population's histogram as so many opens; all nothing where the population has no open."""
    total = sum(population)
    return [count * pseudo / total for count in population] if total else [0.0] * WEEK_HOURS


def mixed(own: Sequence[float], before: Sequence[float]) -> list[float]:
    """Own histogram and :func:`prior` together: the higher, the better the hour."""
    return [count + known for count, known in zip(own, before, strict=True)]


def ranking(scores: Sequence[float]) -> str:
    """For each weekday from Monday the codes of its ``KEPT`` best hours, best first; of equals the earlier one."""
    return "".join(ordered(scores, weekday)[:KEPT] for weekday in range(_DAYS))


def ordered(scores: Sequence[float], weekday: int) -> str:
    """The codes of all hours of a date of that weekday, best first."""
    start = weekday * _DAY_HOURS
    week = [*scores, *scores[: DATE_HOURS - _DAY_HOURS]]
    day = week[start : start + DATE_HOURS]
    return "".join(CODES[hour] for hour in sorted(range(DATE_HOURS), key=day.__getitem__, reverse=True))


def best_of(ranked: str, weekday: int, hours: str) -> str:
    """The best of a user's hours (:func:`ranking`) among the open ones; "" when none of those kept is open.

    The planner says the same in SQL.
    """
    mine = ranked[weekday * KEPT : (weekday + 1) * KEPT]
    return next((code for code in mine if code in hours), "")


def nth_of(draw: int, border: int, hours: str) -> str:
    """The hour that an exploring member gets: a ``draw`` below ``border`` lands on each hour equally often."""
    return hours[draw * len(hours) // border]
