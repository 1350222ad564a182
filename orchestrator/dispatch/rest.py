"""A moment's rest for an account with little room: what comes free meanwhile goes to the database together.

A batch costs milliseconds of the database's however small it is, and a provider that answers in a tenth of a second
frees an account's connections one by one: taken as they come, each would be a batch of its own. So would each message
that a rate lets go.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from orchestrator.ledger.claim import Lane
from orchestrator.limits.rate import Rate

AT_MOST: Final = 0.025
"""Seconds from one batch to the next. Answers that wait to be written wait no longer, either."""
PART: Final = 8
"""One in so many of an account's connections free is worth a batch: half as many stand idle for it, on average."""
FEW: Final = 32
"""Messages that a rate lets go: of fewer, more are waited for, which costs nothing as long as its burst holds them."""
_ALL: Final = 0
"""Stands for every lane of the account."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Until then (monotonic seconds), or until so many connections are free."""

    until: float
    free: float = math.inf


@dataclass(slots=True)
class Rests:
    """Of one account and, apart from it, of its lanes that have a rate of their own."""

    _of: dict[int, Rest] = field(default_factory=dict)

    def begin(self, lane: Lane, room: int, kept: int, connections: int, rate: Rate, began: float) -> None:
        """After a batch that took all the ``room`` there was as it ``began``, of so many connections ``kept`` for it.

        ``rate``: the account's.
        """
        self._of = {one: rest for one, rest in self._of.items() if rest.until > began}
        if room >= kept:
            if room < (worth := connections // PART):
                self._of[_ALL] = Rest(began + AT_MOST, worth)
        elif room < FEW and (lane.rate, lane.campaign_rate) != (None, None):  # a second's burst: see Account.buckets
            self._of[lane.id] = Rest(began + AT_MOST)
        elif room < FEW:
            self._of[_ALL] = Rest(began + min(AT_MOST, rate.burst / rate.per_second / 2))

    def holds(self, lane: Lane, free: int, now: float) -> bool:
        """Whether a lane is left alone, with so many connections ``free``."""
        rests = (self._of.get(one) for one in (_ALL, lane.id))
        return any(rest is not None and now < rest.until and free < rest.free for rest in rests)

    def ends(self, free: int) -> bool:
        """Whether so many ``free`` connections end the account's rest before its time; says so once."""
        rest = self._of.get(_ALL)
        if rest is None or free < rest.free:
            return False
        del self._of[_ALL]
        return True

    def left(self, now: float) -> float:
        """Seconds until the first of them is over; infinite when there is none."""
        return min((rest.until - now for rest in self._of.values() if rest.until > now), default=math.inf)
