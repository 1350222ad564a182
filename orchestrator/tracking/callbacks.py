"""What a provider's callback does: receipts move messages, dead numbers end, refusals hold.

Everything of one callback is written in one transaction. Its receipt is the replay protection: a callback seen before
does nothing, so a STOP that is repeated after a START does not take the START back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, select

from orchestrator import metrics
from orchestrator.audience import people
from orchestrator.channel.base import OutcomeClass
from orchestrator.channel.callback import Reply, Report, ReportState, Seen
from orchestrator.clock import Clock
from orchestrator.dispatch.burial import bury
from orchestrator.dispatch.storm import StormGuard
from orchestrator.dispatch.wear import worn_out
from orchestrator.ledger.receipts import record_receipt
from orchestrator.ledger.states import State
from orchestrator.store.tables import address, lane, message
from orchestrator.tracking.keywords import Asked, asked

REPLY_STATUS = "reply"
OWN_WORD = frozenset({"stop", "provider"})
"""Suppressions that a person's START lifts: not a complaint, not what an operator decided."""

_STATES = {
    ReportState.SENT: State.ACCEPTED,  # settles a message whose answer was lost
    ReportState.DELIVERED: State.DELIVERED,
    ReportState.UNDELIVERED: State.UNDELIVERED,
}


@dataclass(frozen=True, slots=True)
class Callback:
    """A genuine callback to one account. ``message_id`` is ours, from the signed URL."""

    account: str
    channel: str
    provider: str
    said: Report | Reply | Seen
    message_id: int | None


class Verdict(StrEnum):
    """What was done with a callback."""

    TAKEN = "taken"
    """It is in the ledger now."""
    SEEN = "seen"
    """It was there already; nothing changed."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """Whom a message went to."""

    user_id: int
    address_id: int
    value: str


@dataclass(slots=True)
class CallbackBook:
    """Takes callbacks in. One per process, used from its database thread; remembers storm guards alone."""

    clock: Clock
    _guards: dict[str, StormGuard] = field(default_factory=dict)

    def take(self, connection: Connection, callbacks: Sequence[Callback]) -> list[Verdict]:
        """Take in several callbacks, in order, in the caller's transaction."""
        return [self._take(connection, callback, self.clock.now()) for callback in callbacks]

    def _take(self, connection: Connection, callback: Callback, now: datetime) -> Verdict:
        said = callback.said
        if isinstance(said, Seen):
            return Verdict.SEEN
        if isinstance(said, Report):
            fresh = self._take_report(connection, callback, said, now)
        else:
            fresh = _take_reply(connection, callback, said, now)
        return Verdict.TAKEN if fresh else Verdict.SEEN

    def _take_report(self, connection: Connection, callback: Callback, report: Report, now: datetime) -> bool:
        sent = None if callback.message_id is None else _sent(connection, callback.message_id, callback.account)
        fresh = record_receipt(
            connection,
            message_id=callback.message_id if sent else None,
            provider=callback.provider,
            provider_id=report.provider_id,
            status=report.status,
            state=_STATES[report.state],
            code=report.code,
            at=now,
        )
        if fresh and sent is not None:
            self._act(connection, callback, report, sent, now)
        return fresh

    def _act(self, connection: Connection, callback: Callback, report: Report, sent: _Sent, now: datetime) -> None:
        """What the report says about the address or the person."""
        dead = report.kind is OutcomeClass.DROP_ADDRESS or (
            report.kind is OutcomeClass.DROP_MESSAGE and worn_out(connection, sent.address_id, report.code, now)
        )
        guard = self._guards.setdefault(callback.account, StormGuard(self.clock.monotonic))
        if report.state is not ReportState.SENT:
            guard.record(sent.address_id, dead=dead, accepted=report.state is ReportState.DELIVERED)
        if dead:
            bury(connection, callback.account, guard, sent.address_id, now, report.code)
        elif report.kind is OutcomeClass.SUPPRESS:
            _suppress(connection, callback, sent.value, sent.user_id, report.refusal, now)


_SENT = (
    select(message.c.user_id, message.c.address_id, address.c.value)
    .join(lane, lane.c.id == message.c.lane_id)
    .join(address, address.c.id == message.c.address_id)
)


def _sent(connection: Connection, message_id: int, account: str) -> _Sent | None:
    """Whom the message went to; None when this account never had such a message."""
    row = connection.execute(_SENT.where(message.c.id == message_id, lane.c.account == account)).first()
    return None if row is None else _Sent(row.user_id, row.address_id, row.value)


def _take_reply(connection: Connection, callback: Callback, reply: Reply, now: datetime) -> bool:
    fresh = record_receipt(
        connection,
        message_id=None,
        provider=callback.provider,
        provider_id=reply.provider_id,
        status=REPLY_STATUS,
        state=None,
        code="",
        at=now,
    )
    if fresh:
        _obey(connection, callback, reply, now)
    return fresh


def _obey(connection: Connection, callback: Callback, reply: Reply, now: datetime) -> None:
    """Do what the person asks for, for the number they wrote from and for its user, on this channel."""
    wish = asked(reply.text)
    metrics.replies.labels(callback.account, wish).inc()
    owner = select(address.c.user_id).where(
        address.c.channel == callback.channel, address.c.value == reply.address, address.c.valid_until.is_(None)
    )
    user_id = connection.execute(owner).scalar()
    match wish:
        case Asked.STOP:
            _suppress(connection, callback, reply.address, user_id, "stop", now)
        case Asked.START:
            people.lift(
                connection, channel=callback.channel, at=now, address=reply.address, user_id=user_id, reasons=OWN_WORD
            )
        case Asked.OTHER:
            pass


def _suppress(
    connection: Connection, callback: Callback, value: str, user_id: int | None, reason: str, now: datetime
) -> None:
    """Of the address, whoever has it next, and of the user on this channel, whatever number they take next."""
    refused = [people.Suppressed(callback.channel, reason, callback.provider, now, address=value)]
    if user_id is not None:
        refused.append(people.Suppressed(callback.channel, reason, callback.provider, now, user_id=user_id))
    people.suppress_all(connection, refused)
