"""The two kinds of time (design §3).

*Business time* decides what people notice: windows, spans, due times. It is injected, may run fast, and reaches SQL
as a bind parameter. *Machine time* decides what machines notice: leases, timeouts, tokens, refill. It is never
accelerated.

In the database an instant is a whole number of microseconds since 1970 (UTC): the same arithmetic on every database.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol

from typing_extensions import override

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(instant: datetime) -> int:
    """Microseconds since 1970 of an aware datetime, exactly (no float on the way)."""
    since = instant - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


@lru_cache(maxsize=4096)  # the instants of a batch are few: its messages share openings and deadlines
def from_micros(micros: int) -> datetime:
    """The aware UTC datetime of a number of microseconds since 1970."""
    return EPOCH + timedelta(0, 0, micros)  # by keyword it would take half as long again


def span_micros(span: timedelta) -> int:
    """The length of a span in microseconds."""
    return span // _MICROSECOND


class Clock(Protocol):
    """Where the time comes from. All datetimes are aware and UTC."""

    def now(self) -> datetime:
        """Business time."""
        ...

    def machine(self) -> datetime:
        """This machine's wall clock, for leases and tokens."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, for time spent and refill."""
        ...

    def machine_span(self, business: timedelta) -> timedelta:
        """How long a span of business time takes on the machine."""
        ...

    def business_span(self, machine: timedelta) -> timedelta:
        """How much business time passes in a span of machine time."""
        ...

    def machine_at(self, business: datetime) -> datetime:
        """What the machine's clock shows, or showed, at an instant of business time."""
        ...


class SystemClock:
    """Business time is the machine's time: what production uses."""

    def now(self) -> datetime:
        """The wall clock."""
        return datetime.now(UTC)

    def machine(self) -> datetime:
        """The wall clock."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """The system's monotonic clock, in seconds."""
        return time.monotonic()

    def machine_span(self, business: timedelta) -> timedelta:
        """The same span."""
        return business

    def business_span(self, machine: timedelta) -> timedelta:
        """The same span."""
        return machine

    def machine_at(self, business: datetime) -> datetime:
        """The same instant."""
        return business


@dataclass(slots=True)
class AcceleratedClock(SystemClock):
    """Business time that runs ``speed`` times as fast, from ``start``: for the demo.

    A pure function of machine time, so two processes given the same three values agree.
    """

    start: datetime
    speed: float
    origin: datetime

    @override
    def now(self) -> datetime:
        return self.start + (self.machine() - self.origin) * self.speed

    @override
    def machine_span(self, business: timedelta) -> timedelta:
        return business / self.speed

    @override
    def business_span(self, machine: timedelta) -> timedelta:
        return machine * self.speed

    @override
    def machine_at(self, business: datetime) -> datetime:
        return self.origin + (business - self.start) / self.speed


@dataclass(slots=True)
class ManualClock(SystemClock):
    """A clock that stands still until it is told: for tests."""

    instant: datetime

    @override
    def now(self) -> datetime:
        return self.instant

    @override
    def machine(self) -> datetime:
        return self.instant

    @override
    def monotonic(self) -> float:
        return (self.instant - EPOCH).total_seconds()

    def advance(self, span: timedelta) -> None:
        """Let ``span`` pass."""
        self.instant += span
