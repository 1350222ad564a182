"""What a provider's callback does: receipts move messages, dead numbers end, refusals hold.

Everything of one callback is written in one transaction. Its receipt is the replay protection: a callback seen before
does nothing, so a STOP that is repeated after a START does not take the START back.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, bindparam, exists, or_, select

from orchestrator import metrics
from orchestrator.audience import people
from orchestrator.audience.aliases import aliases
from orchestrator.channel.base import OutcomeClass
from orchestrator.channel.callback import Reply, Report, ReportState, Seen, SeenDeed
from orchestrator.clock import EPOCH, Clock
from orchestrator.content.links import number_of
from orchestrator.dispatch.burial import bury, stop_on_surge
from orchestrator.dispatch.storm import StormGuard
from orchestrator.dispatch.wear import worn_out
from orchestrator.ledger.ids import parts
from orchestrator.ledger.receipts import record_receipt
from orchestrator.ledger.states import State
from orchestrator.ledger.stops import stop_account
from orchestrator.store.tables import address, attempt, lane, message, run
from orchestrator.tracking.hits import Hit, HitBook
from orchestrator.tracking.keywords import Asked, asked
from orchestrator.tracking.machines import AGENT_LENGTH, Deed, cut_network

log = logging.getLogger(__name__)

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
    IGNORED = "ignored"
    """It is about a message that is forgotten, and says nothing that would still matter."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """Whom a message went to."""

    user_id: int
    address_id: int
    value: str


@dataclass(slots=True)
class CallbackBook:
    """Takes callbacks in. One per process, used from its database thread; remembers storm guards and traps alone."""

    clock: Clock
    guards: dict[str, StormGuard] = field(default_factory=dict)
    hits: HitBook = field(default_factory=HitBook)

    def take(self, connection: Connection, callbacks: Sequence[Callback]) -> list[Verdict]:
        """Take in several callbacks, in order, in the caller's transaction."""
        return [self._take(connection, callback, self.clock.now()) for callback in callbacks]

    def _take(self, connection: Connection, callback: Callback, now: datetime) -> Verdict:
        said = callback.said
        if isinstance(said, Seen):
            fresh = self._take_seen(connection, callback, said, now)
        elif isinstance(said, Report):
            return self._take_report(connection, callback, said, now)
        else:
            fresh = _take_reply(connection, callback, said, now)
        return Verdict.TAKEN if fresh else Verdict.SEEN

    def _take_seen(self, connection: Connection, callback: Callback, seen: Seen, now: datetime) -> bool:
        """An open or click that the provider counted; of a message that this account never had: nothing."""
        sent = None if callback.message_id is None else _sent(connection, callback.message_id, callback.account)
        if sent is None or callback.message_id is None:
            return False
        return self.hits.take(connection, [_hit(callback, seen, callback.message_id, now)]) == [True]

    def _take_report(self, connection: Connection, callback: Callback, report: Report, now: datetime) -> Verdict:
        callback = replace(callback, message_id=callback.message_id or _by_provider(connection, callback, report, now))
        sent = None if callback.message_id is None else _sent(connection, callback.message_id, callback.account)
        if sent is None and (user_id := _forgotten(connection, callback)) is not None:
            return _take_late(connection, callback, report, user_id, now)
        status = report.status
        if sent is not None and sent.value and report.address and not _same(report.address, sent.value):
            sent = _other(connection, callback.channel, sent, report.address)
            status = (
                f"{status} {sha256(report.address.lower().encode()).hexdigest()[:12]}"  # no news of our own address
            )
        fresh = record_receipt(
            connection,
            message_id=callback.message_id if sent else None,
            provider=callback.provider,
            provider_id=report.provider_id,
            status=status,
            state=_STATES[report.state],
            code=report.code,
            at=now,
        )
        if fresh and sent is not None:
            self._act(connection, callback, report, sent, now)
        return Verdict.TAKEN if fresh else Verdict.SEEN

    def _act(self, connection: Connection, callback: Callback, report: Report, sent: _Sent, now: datetime) -> None:
        """What the report says about the address, the person or the account."""
        account, failed = callback.account, report.state is ReportState.UNDELIVERED
        counted = failed and report.kind in {None, OutcomeClass.DROP_MESSAGE}
        dead = report.kind is OutcomeClass.DROP_ADDRESS or (
            counted and worn_out(connection, sent.address_id, report.code, now)
        )
        guard = self.guards.setdefault(account, StormGuard(self.clock.monotonic))
        if report.state is not ReportState.SENT:
            guard.record(sent.address_id, dead=dead, accepted=not failed, code=report.code)
            stop_on_surge(connection, account, guard, self.clock.machine(), now, callback.provider)
        if dead:
            bury(connection, account, guard, sent.address_id, now, report.code)
        elif report.kind is OutcomeClass.SUPPRESS:
            value = sent.value or _named_mailbox(callback.channel, report)
            _suppress(connection, callback, value, sent.user_id, report.refusal, now)
        elif report.kind is OutcomeClass.STOP_CHANNEL:
            stop_account(connection, account, report.code or "stopped", self.clock.machine(), now, callback.provider)
            log.error("account_stopped", extra={"account": account, "code": report.code})


_FORGOTTEN = (
    select(lane.c.account)
    .join(run, run.c.id == lane.c.run_id)
    .where(lane.c.run_id == bindparam("run"), lane.c.step == bindparam("step"), run.c.forgotten_at.is_not(None))
)


def _forgotten(connection: Connection, callback: Callback) -> int | None:
    """The user of a message of this account whose run is forgotten: its id says whom, and the step's lane stays."""
    if callback.message_id is None:
        return None
    run_id, user_id, step = parts(callback.message_id)
    if callback.account not in connection.execute(_FORGOTTEN, {"run": run_id, "step": step}).scalars():
        return None
    return aliases(connection, [user_id]).get(user_id, user_id)


def _take_late(connection: Connection, callback: Callback, report: Report, user_id: int, now: datetime) -> Verdict:
    """A refusal holds whenever it comes, and is kept so that it counts once; nothing else would ever be asked for."""
    if report.kind is not OutcomeClass.SUPPRESS:
        return Verdict.IGNORED
    fresh = record_receipt(
        connection,
        message_id=None,
        provider=callback.provider,
        provider_id=report.provider_id,
        status=report.status,
        state=_STATES[report.state],
        code=report.code,
        at=now,
    )
    if fresh:
        of = callback.channel, report.refusal, callback.provider, now
        people.suppress_all(connection, [people.Suppressed(*of, user_id=user_id)])
    return Verdict.TAKEN if fresh else Verdict.SEEN


def _hit(callback: Callback, seen: Seen, message_id: int, now: datetime) -> Hit:
    """As if it had come through a link of ours; a push that was tapped was opened. Phones' clocks may run ahead."""
    tapped = seen.deed is SeenDeed.OPEN or callback.channel == "push"
    return Hit(
        Deed.OPEN if tapped else Deed.CLICK,
        message_id,
        0 if tapped or not seen.url else number_of(seen.url),
        "" if tapped else seen.url,
        min(max(seen.at, EPOCH), now),
        seen.agent[:AGENT_LENGTH].replace("\0", "") or callback.provider,
        cut_network(seen.network),
        event_id=f"{callback.provider}:{seen.event_id}",
        machine=seen.machine,
    )


_SENT = (
    select(message.c.user_id, message.c.address_id, address.c.value)
    .join(lane, lane.c.id == message.c.lane_id)
    .join(address, address.c.id == message.c.address_id)
)


def _sent(connection: Connection, message_id: int, account: str) -> _Sent | None:
    """Whom the message went to; None when this account never had such a message (it may have another's by now)."""
    tried = exists().where(attempt.c.message_id == message_id, attempt.c.account == account)
    own = or_(lane.c.account == account, tried)
    row = connection.execute(_SENT.where(message.c.id == message_id, own)).first()
    return None if row is None else _Sent(row.user_id, row.address_id, row.value)


REPORTED_WITHIN = timedelta(days=35)
"""How far back a report with no id of ours is looked for: as long as providers keep trying, and more."""


def _by_provider(connection: Connection, callback: Callback, report: Report, now: datetime) -> int | None:
    """The message that a report without our id is about, where it names the address: by the user's own messages."""
    if not report.address:
        return None
    owner = select(address.c.user_id).where(
        address.c.channel == callback.channel, address.c.value == report.address, address.c.valid_until.is_(None)
    )
    known = select(message.c.id).where(
        message.c.user_id == owner.scalar_subquery(),
        message.c.sent_at >= now - REPORTED_WITHIN,
        message.c.provider_id == report.provider_id,
    )
    found: int | None = connection.execute(known.order_by(message.c.id.desc()).limit(1)).scalar()
    return found


def _same(said: str, ours: str) -> bool:
    """Providers write mailboxes in their own case, phone numbers with or without the plus."""
    return said.strip().lower().lstrip("+") == ours.lower().lstrip("+")


def _other(connection: Connection, channel: str, sent: _Sent, said: str) -> _Sent | None:
    """Another address of the same user that a report names; None for a stranger's, which we know nothing of."""
    theirs = select(address.c.id, address.c.value).where(
        address.c.user_id == sent.user_id, address.c.channel == channel, address.c.valid_until.is_(None)
    )
    found = next((row for row in connection.execute(theirs) if _same(said, row.value)), None)
    return None if found is None else _Sent(sent.user_id, found.id, found.value)


def report_of(plain: Mapping[str, Any]) -> Report:
    """A report that came as JSON: what the command line read in a returned mail."""
    kind = plain["kind"]
    return Report(
        provider_id=plain["provider_id"],
        status=plain["status"],
        state=ReportState(plain["state"]),
        code=plain["code"],
        kind=None if kind is None else OutcomeClass(kind),
        refusal=plain["refusal"],
    )


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


def _named_mailbox(channel: str, report: Report) -> str:
    """What a message of somebody erased went to is not known any more: the report may say it. Else nothing."""
    return report.address.strip().lower() if channel == "email" and report.address else ""


def _suppress(
    connection: Connection, callback: Callback, value: str, user_id: int | None, reason: str, now: datetime
) -> None:
    """Of the address, whoever has it next, and of the user on this channel, whatever number they take next."""
    refused = [people.Suppressed(callback.channel, reason, callback.provider, now, address=value)] if value else []
    if user_id is not None:
        refused.append(people.Suppressed(callback.channel, reason, callback.provider, now, user_id=user_id))
    people.suppress_all(connection, refused)
