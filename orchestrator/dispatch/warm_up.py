"""Warming an account up: so many messages on its first day, more on the second, until mailbox providers know it.

A day is any 24 hours, so that an evening and the next morning do not add up. The first day begins with the first
message that leaves while the account has a warm-up. Decided at the mark, where what leaves is counted
(:mod:`orchestrator.ledger.warmed`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from orchestrator.dispatch.compose import Composed
from orchestrator.ledger.states import State
from orchestrator.ledger.warmed import DAY, QUARTER, Warmed, count_warmed, hold_warmed, warmed_of
from orchestrator.policy.gate import Leave
from orchestrator.policy.resolver import Hold

WARM_UP = "warm_up"


@dataclass(slots=True)
class WarmUp:
    """An account's schedule: ``days[0]`` messages in its first 24 hours, and so on; after the last it has no limit.

    ``_reserved``: who was sent back to wait, by the instant at which there is room for them: a queue of a million comes
    to the door once, and not every quarter of an hour.
    """

    account: str
    days: tuple[int, ...]
    _reserved: Counter[datetime] = field(default_factory=Counter)

    def over(self, connection: Connection, leaving: Sequence[Composed], now: datetime) -> dict[int, Hold | Leave]:
        """Who must wait or stay behind, of messages in the order in which they would leave; the others are counted.

        In the transaction that marks them.
        """
        if not leaving:
            return {}
        if self.warm(warmed_of(connection, self.account, now), now):  # for ever: nothing is locked any more
            return {}
        hold_warmed(connection, self.account)
        sent = warmed_of(connection, self.account, now)
        room = max(self.most(sent, now) - sent.messages, 0)
        count_warmed(connection, self.account, len(leaving[:room]), now)
        places = self._places(warmed_of(connection, self.account, now), now)
        return {item.message.id: _verdict(item, next(places, None)) for item in leaving[room:]}

    def warm(self, sent: Warmed, now: datetime) -> bool:
        """Whether its last day is over."""
        return sent.first is not None and now >= sent.first + len(self.days) * DAY

    def most(self, sent: Warmed, now: datetime) -> int:
        """How many may leave in 24 hours, as of ``now``."""
        return self.days[0 if sent.first is None else min((now - sent.first) // DAY, len(self.days) - 1)]

    def _places(self, sent: Warmed, now: datetime) -> Iterator[datetime]:
        """Instants at which there is room for one more, each as often as there is; already reserved ones left out."""
        for past in [instant for instant in self._reserved if instant <= now]:
            del self._reserved[past]
        for instant, room in self._releases(sent, now):
            while self._reserved[instant] < room:
                self._reserved[instant] += 1
                yield instant

    def _releases(self, sent: Warmed, now: datetime) -> Iterator[tuple[datetime, int]]:
        """When how much room comes up, as far as what has left already tells: the beginnings of days among it."""
        first = sent.first or now
        steps = [(first + n * DAY, more - less) for n, (less, more) in enumerate(self._pairs(), 1) if more > less]
        ends = [(since + DAY + QUARTER, count) for since, count in sent.recent]
        over = first + len(self.days) * DAY
        yield from sorted((instant, room) for instant, room in [*steps, *ends] if now < instant < over)
        yield over, 1 << 62  # no limit any more

    def _pairs(self) -> zip[tuple[int, int]]:
        return zip(self.days, self.days[1:], strict=False)


def _verdict(item: Composed, until: datetime | None) -> Hold | Leave:
    if until is None or until >= item.message.deadline:
        return Leave(State.SKIPPED, WARM_UP)
    return Hold(until, WARM_UP)
