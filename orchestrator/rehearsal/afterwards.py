"""What comes back in a rehearsal: receipts, opens, clicks, people who return, order, or unsubscribe.

Each is drawn as its message is accepted, waits for its instant, and is then written where the real thing is written:
events, receipts and consents of the scratch database, where gates, follow-up steps and attribution find it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from heapq import heappop, heappush

from sqlalchemy import Connection, text

from orchestrator.audience import people
from orchestrator.audience.rows import insert
from orchestrator.campaign.spec import Campaign
from orchestrator.clock import from_micros, to_micros
from orchestrator.ledger.receipts import apply_kept
from orchestrator.ledger.runs import Run
from orchestrator.rehearsal.responses import Responses
from orchestrator.store.dialect import among, among_sql
from orchestrator.store.tables import event, receipt

SOURCE = "rehearsal"
WHILE = timedelta(hours=6)
"""How long after a message people open it, click in it, or unsubscribe from it."""
RECEIPT_WITHIN = timedelta(minutes=5)
OPENED, CLICKED = "message_opened", "link_clicked"


class Kind(StrEnum):
    """What happens."""

    EVENT = "event"
    DELIVERED = "delivered"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that comes back. ``what``: an event's name, a channel's for the rest; ``topic``: of what is refused."""

    kind: Kind
    user_id: int
    what: str
    message_id: int | None = None
    topic: str = ""


@dataclass(slots=True)
class Afterwards:
    """Everything that is still to come back, in the order of time."""

    responses: Responses
    _waiting: list[tuple[datetime, int, Happening]] = field(default_factory=list)
    _count: int = 0
    recorded: int = 0
    """Events written so far: attribution has work when there are more than it saw."""

    def next_at(self) -> datetime | None:
        """When the next thing comes back."""
        return self._waiting[0][0] if self._waiting else None

    def due(self, now: datetime) -> bool:
        """Whether anything has happened by ``now`` that is not written yet."""
        return bool(self._waiting) and self._waiting[0][0] <= now

    def accepted(self, campaign: Campaign, channel: str, message_id: int, user_id: int, sent: datetime) -> None:
        """Draw what comes of an accepted message."""
        rates, draws = self.responses.of(channel), self.responses.draws("message", message_id)
        goal = campaign.goal
        if draws[0] < rates.delivered:
            self._add(sent + draws.after(1, RECEIPT_WITHIN), Happening(Kind.DELIVERED, user_id, channel, message_id))
        if draws[2] < rates.opened:
            self._add(sent + draws.after(3, WHILE), Happening(Kind.EVENT, user_id, OPENED, message_id))
        if draws[4] < rates.clicked:
            self._add(sent + draws.after(5, WHILE), Happening(Kind.EVENT, user_id, CLICKED, message_id))
        if draws[6] < rates.reopened:
            back = sent + draws.after(7, goal.within / 2)  # counted from the opening, which is some time before
            self._add(back, Happening(Kind.EVENT, user_id, goal.event))
            if goal.conversion is not None and draws[8] < rates.converted:
                bought = back + draws.after(9, goal.conversion.within / 4)
                self._add(bought, Happening(Kind.EVENT, user_id, goal.conversion.event))
        if draws[10] < rates.unsubscribed:
            refusal = Happening(Kind.REFUSED, user_id, channel, topic=campaign.topic)
            self._add(sent + draws.after(11, WHILE), refusal)

    def planned(
        self, connection: Connection, run: Run, campaign: Campaign, some: Collection[int] | None = None
    ) -> None:
        """Draw which members of a run come back in its goal window by themselves, held out or not.

        ``some``: of these members alone.
        """
        share, event_name = self.responses.by_themselves, campaign.goal.event
        anchors = _ANCHORS if some is None else _SOME_ANCHORS
        values = {"run": run.id} if some is None else {"run": run.id, "some": among(some)}
        of = f"member {run.campaign} {run.occasion.key}"
        for user_id, anchor in connection.execute(anchors, values).all() if share else ():
            draws = self.responses.draws(of, user_id)
            if draws[0] < share:
                back = from_micros(anchor) + campaign.goal.within * draws[1]
                self._add(back, Happening(Kind.EVENT, user_id, event_name))

    def _add(self, at: datetime, happening: Happening) -> None:
        self._count += 1
        heappush(self._waiting, (at, self._count, happening))

    def happen(self, connection: Connection, now: datetime) -> int:
        """Write everything up to ``now``; how much it was."""
        over = list(self._until(now))
        self._events(connection, [item for item in over if item[2].kind is Kind.EVENT])
        _receipts(connection, [item for item in over if item[2].kind is Kind.DELIVERED])
        _refusals(connection, [item for item in over if item[2].kind is Kind.REFUSED])
        return len(over)

    def _until(self, now: datetime) -> Iterator[_Item]:
        while self._waiting and self._waiting[0][0] <= now:
            yield heappop(self._waiting)

    def _events(self, connection: Connection, items: Sequence[_Item]) -> None:
        rows = [
            (one.user_id, one.what, micros, micros, f"{SOURCE}:{count}", one.message_id, None)
            for at, count, one in items
            if (micros := to_micros(at))
        ]
        if rows:
            insert(connection, event, _EVENT, rows)
            self.recorded += len(rows)


_Item = tuple[datetime, int, Happening]
_EVENT = ("user_id", "name", "at", "received_at", "source_id", "message_id", "properties")
_ANCHORS = text("SELECT user_id, anchor FROM member WHERE run_id = :run AND decision = 'planned' AND anchor > 0")
_SOME_ANCHORS = text(f"{_ANCHORS.text} AND user_id IN {among_sql('sqlite', 'some')}")
_RECEIPT = ("provider", "provider_id", "status", "state", "message_id", "code", "received_at")
_DELIVERED = ("delivered", "delivered")
_SOME = 500


def _receipts(connection: Connection, items: Sequence[_Item]) -> None:
    """Keep receipts, and let the ledger apply them."""
    for begin in range(0, len(items), _SOME):
        some = items[begin : begin + _SOME]
        ids = [one.message_id for _, _, one in some if one.message_id is not None]
        came = [(SOURCE, str(one.message_id), *_DELIVERED, one.message_id, "", to_micros(at)) for at, _, one in some]
        insert(connection, receipt, _RECEIPT, came)
        apply_kept(connection, ids)


def _refusals(connection: Connection, items: Sequence[_Item]) -> None:
    if items:
        changes = [
            people.ConsentChange(one.user_id, one.what, one.topic, granted=False, source=SOURCE, at=at)
            for at, _, one in items
        ]
        people.set_consents(connection, changes)
