"""When the run of a local date opens, and until when anything of it may leave: anywhere on Earth.

A date begins first at UTC+14 (Kiritimati) and ends last at UTC-12 (ships, Baker Island); a window over
midnight goes on for less than a day after that. Whether a run exists already is for the database to decide;
these are pure functions of time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta

from orchestrator.timing.window import Window
from orchestrator.timing.zonedata import canonical_zones

FIRST_OFFSET = timedelta(hours=14)
LAST_OFFSET = timedelta(hours=-12)
LEAD = timedelta(hours=1)
"""How long before a date first begins its run opens: time to plan."""
OVERNIGHT = timedelta(days=1)
_DAY = timedelta(days=1)


def opens_at(day: date) -> datetime:
    """When the run of ``day`` opens: an hour before the date begins at UTC+14."""
    return _midnight(day) - FIRST_OFFSET - LEAD


def ends_at(day: date) -> datetime:
    """When nothing of ``day`` can be in a window any more: a day after the date ends at UTC-12."""
    return _midnight(day) + _DAY - LAST_OFFSET + OVERNIGHT


def due_dates(fires_on: Callable[[date], bool], after: datetime | None, now: datetime) -> list[date]:
    """The dates that fire and whose run is open at ``now`` and not over, in order.

    ``after`` leaves out the runs that had opened by then (a campaign launched in the middle of a date's run, say); None
    leaves out none. However long the caller slept, a date that is over is never returned.
    """
    nearest = now.astimezone(UTC).date()
    days = [nearest + step * _DAY for step in range(-4, 4)]
    return [
        day
        for day in days
        if opens_at(day) <= now < ends_at(day) and (after is None or opens_at(day) > after) and fires_on(day)
    ]


def unreachable_zones(window: Window, dates: Iterable[date]) -> tuple[tuple[str, date], ...]:
    """Zones in which ``window`` does not exist on one of ``dates`` (it lies in a gap), each with that date.

    Dates on whose weekday the window has no part at all are left out: there it is nowhere.
    """
    open_days = [day for day in dates if window.of_weekday(day.weekday())]
    return tuple((zone, day) for day in open_days for zone in canonical_zones() if not window.on(day, zone))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)
