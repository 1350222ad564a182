"""One token bucket: starts empty, fills along a ramp, never holds more than its burst.

That the level never exceeds ``burst`` and never rises faster than ``per_second`` is what makes the promise:
in any span of T seconds at most ``burst + per_second * T`` tokens are taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from math import isfinite, sqrt

from orchestrator.errors import InputError

FLOOR = 0.1
"""The share of the rate that a ramp starts from."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Tokens ``per_second`` on average, at most ``burst`` at once; the rate climbs from a tenth over ``ramp``.

    Raises:
        InputError: a rate of 0 (or less) is not "no limit" and not "never": say what is meant elsewhere.
    """

    per_second: float
    burst: int = 1
    ramp: timedelta = timedelta(seconds=60)

    def __post_init__(self) -> None:
        if not isfinite(self.per_second) or self.per_second <= 0:
            raise InputError(f"a rate of {self.per_second} per second", hint="give more than 0; to send nothing, pause")
        if self.burst < 1:
            raise InputError(f"a burst of {self.burst}", hint="at least 1, or nothing could ever leave")
        if self.ramp < timedelta(0):
            raise InputError("a ramp of negative length", hint="0 s for none")

    @property
    def ramp_seconds(self) -> float:
        """The length of the ramp."""
        return self.ramp.total_seconds()

    @property
    def idle_seconds(self) -> float:
        """Unused for so long, a bucket ramps again; a rate slower than its ramp is not idle between two tokens."""
        return max(self.ramp_seconds, 2 / self.per_second)

    def filled(self, start: float, end: float) -> float:
        """Tokens that flow in from ``start`` to ``end``, in seconds since the ramp began."""
        ramp = self.ramp_seconds
        climbing = self._climbed(min(end, ramp)) - self._climbed(min(start, ramp))
        level = max(end - max(start, ramp), 0.0)
        return (climbing + level) * self.per_second

    def filled_by(self, start: float, tokens: float) -> float:
        """When (in seconds since the ramp began) ``tokens`` more than at ``start`` have flowed in."""
        ramp, seconds = self.ramp_seconds, tokens / self.per_second
        if start >= ramp:
            return start + seconds
        wanted = self._climbed(start) + seconds
        if wanted >= self._climbed(ramp):
            return ramp + wanted - self._climbed(ramp)
        slope = (1 - FLOOR) / ramp
        return (sqrt(FLOOR * FLOOR + 2 * slope * wanted) - FLOOR) / slope

    def _climbed(self, at: float) -> float:
        """Seconds at the full rate that the first ``at`` seconds of the ramp are worth."""
        ramp = self.ramp_seconds
        return FLOOR * at + (1 - FLOOR) * at * at / (2 * ramp) if ramp else 0.0


@dataclass(slots=True)
class Bucket:
    """The state of one key. All times are machine time in seconds; the caller holds the lock."""

    rate: Rate
    at: float
    """The instant that ``level`` is right for."""
    ramped_at: float
    used_at: float
    level: float = 0.0

    @classmethod
    def new(cls, rate: Rate, now: float) -> Bucket:
        """An empty bucket at the foot of its ramp: a restart never refills."""
        return cls(rate, now, now, now)

    def refill(self, rate: Rate, now: float) -> int:
        """Bring the bucket to ``now``, under ``rate`` from here on; answers the whole tokens in it."""
        if now > self.at:
            flowed = self.rate.filled(self.at - self.ramped_at, now - self.ramped_at)
            self.level = min(self.level + flowed, float(self.rate.burst))
            self.at = now
        if rate != self.rate:
            self.rate, self.level = rate, min(self.level, float(rate.burst))
        if now - self.used_at > self.rate.idle_seconds:
            self.ramped_at = now  # and stays there until somebody takes: polling keeps nothing warm
        return int(self.level) if now >= self.at else 0  # before `at` it is stopped

    def take(self, tokens: int, now: float) -> None:
        """Take tokens that :meth:`refill` said are there."""
        self.level -= tokens
        self.used_at = now

    def put_back(self, tokens: int, held: float) -> None:
        """Put back what was taken ``held`` seconds ago, less what has flowed in for it meanwhile."""
        kept = max(tokens - held * self.rate.per_second, 0.0)
        self.level = min(self.level + kept, float(self.rate.burst))

    def stop_until(self, end: float, now: float) -> None:
        """Empty the bucket and let nothing flow until ``end``; a stop longer than the ramp ramps again."""
        self.level = 0.0
        if end - now > self.rate.ramp_seconds:
            self.ramped_at = end
        else:
            self.ramped_at += end - max(self.at, now)  # the ramp stands still meanwhile
        self.at = self.used_at = end

    def ease(self, now: float) -> None:
        """Empty the bucket and begin its ramp again, if it has one; what is stopped stays so for as long."""
        if self.rate.ramp_seconds:
            self.level = 0.0
            self.at = self.ramped_at = max(self.at, now)

    def seconds_to_one(self, now: float) -> float:
        """How long from ``now`` until a whole token is in the bucket."""
        if self.level >= 1:
            return max(self.at - now, 0.0)
        since = self.at - self.ramped_at
        return self.at - now + self.rate.filled_by(since, 1 - self.level) - since
