"""Operations: what comes back from providers, and how they feel."""

from __future__ import annotations

from orchestrator.channel.base import OutcomeClass
from orchestrator.channel.callback import ReportState
from orchestrator.ledger.ids import parts
from orchestrator.ledger.states import State
from tests.walk.afterwards import Guard, bury, receipt, refuse
from tests.walk.registry import operation
from tests.walk.shapes import SAYINGS
from tests.walk.walk import Walk
from tests.walk.wire import Request

REPORTS: tuple[tuple[ReportState, str, OutcomeClass | None], ...] = (
    *((ReportState.DELIVERED, "", None), (ReportState.DELIVERED, "", None), (ReportState.SENT, "", None)),
    (ReportState.UNDELIVERED, "x1", None),
    (ReportState.UNDELIVERED, "x2", OutcomeClass.DROP_ADDRESS),
    (ReportState.UNDELIVERED, "x3", OutcomeClass.SUPPRESS),
)
NEWS = {
    ReportState.SENT: State.ACCEPTED,
    ReportState.DELIVERED: State.DELIVERED,
    ReportState.UNDELIVERED: State.UNDELIVERED,
}


@operation(weight=7, picks=2)
def a_receipt_comes(walk: Walk, which: int, what: int) -> None:
    """About one of the latest requests, early or late, for the first time or again."""
    delivered = [one for one in walk.town.heard if one.took][-12:]
    if not delivered:
        return
    request, said = delivered[which % len(delivered)], REPORTS[what % len(REPORTS)]
    fresh = (request.id, said[0] + said[1]) not in walk.reported
    walk.expect("a receipt is news", walk.town.report(request, *said), fresh)
    if fresh:
        walk.reported.add((request.id, said[0] + said[1]))
        _take_in(walk, request, *said)


def _take_in(walk: Walk, request: Request, state: ReportState, code: str, kind: OutcomeClass | None) -> None:
    message = walk.book.messages[parts(request.message)]
    receipt(walk.book, message, NEWS[state], code)
    guard, dead = walk.guards.setdefault(request.account, Guard()), kind is OutcomeClass.DROP_ADDRESS
    if state is not ReportState.SENT:
        guard.record(walk.now, message.address, dead=dead, accepted=state is ReportState.DELIVERED)
    if dead:
        bury(walk.book, guard, message.address)
    elif kind is OutcomeClass.SUPPRESS:
        refuse(walk.book, message.channel, "provider", message.address, message.key[1])


@operation(weight=2, picks=1)
def the_providers_mood_changes(walk: Walk, mood: int) -> None:
    """One answer for everybody for a while; or each as it comes."""
    walk.mood = SAYINGS[mood % len(SAYINGS)] if mood % 3 else None
