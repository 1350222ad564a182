"""Which local date the demonstration runs, from when to when, and how fast."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from orchestrator.clock import AcceleratedClock
from orchestrator.timing.schedule import opens_at

SPEED = 1800.0
LEAD = timedelta(minutes=90)
"""Business time between the clock's start and the opening of the date's run: while the daemon starts."""
_DAY = timedelta(days=1)
_SATURDAY = 5


@dataclass(frozen=True, slots=True)
class Timeline:
    """``day`` is the local date; ``start`` the business instant at which the clock starts."""

    day: date
    start: datetime
    speed: float

    @property
    def yesterday(self) -> date:
        """The day before the clock's start, on which the last purchase falls."""
        return self.start.date() - _DAY

    def clock(self, origin: datetime) -> AcceleratedClock:
        """The business clock that starts at ``origin`` (machine time)."""
        return AcceleratedClock(self.start, self.speed, origin)


def timeline(machine: datetime, speed: float = SPEED) -> Timeline:
    """The next working day after today: on Sundays, France and Texas get no SMS."""
    day = machine.astimezone(UTC).date() + _DAY
    while day.weekday() >= _SATURDAY:
        day += _DAY
    return Timeline(day, opens_at(day) - LEAD, speed)


def shift_to(yesterday: date, last: date) -> timedelta:
    """What moves a purchase of the day ``last`` to ``yesterday``."""
    return yesterday - last


def business_at(clock: AcceleratedClock, machine: datetime) -> datetime:
    """The business time at an instant of machine time."""
    return clock.start + (machine - clock.origin) * clock.speed
