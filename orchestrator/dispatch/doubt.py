"""Messages that may or may not have been accepted: listed, and reconciled by asking the provider. Never resent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from orchestrator.channel.base import Channel, Inquiry, Outcome, OutcomeClass
from orchestrator.clock import Clock, from_micros
from orchestrator.content.links import Links
from orchestrator.dispatch.compose import Composed, compose
from orchestrator.ledger.claim import Claimed, Lane
from orchestrator.ledger.ids import LaneId, MessageId
from orchestrator.ledger.lanes import VERSION
from orchestrator.ledger.resolve import RECONCILED, RESOLVED, resolve_unknown
from orchestrator.ledger.states import State
from orchestrator.ledger.transition import NO_RUN, Transition, record
from orchestrator.store import Store


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A message in state ``unknown``."""

    message_id: int
    campaign: str
    run_id: int
    user: str
    channel: str
    account: str
    sent_at: datetime
    reason: str | None


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What became of the unknown messages."""

    accepted: int = 0
    never_arrived: int = 0
    still_unknown: int = 0


_UNKNOWN = text(f"""
    SELECT message.id, run.campaign, message.run_id, users.external_id, lane.channel, lane.account, message.sent_at,
           message.reason, message.user_id, message.step, message.address_id, message.arm, message.held_out,
           message.due_at, message.deadline, message.attempts, message.lane_id, lane.rate, lane.priority,
           {VERSION} AS version
    FROM message JOIN run ON run.id = message.run_id JOIN lane ON lane.id = message.lane_id
    JOIN users ON users.id = message.user_id
    WHERE message.state = 'unknown' ORDER BY message.id""")


def unknown_messages(connection: Connection) -> list[Doubtful]:
    """Every message whose fate is not known."""
    rows = connection.execute(_UNKNOWN)
    return [
        Doubtful(r.id, r.campaign, r.run_id, r.external_id, r.channel, r.account, from_micros(r.sent_at), r.reason)
        for r in rows
    ]


def resolve(connection: Connection, chosen: Sequence[Doubtful], state: State, now: datetime, actor: str) -> int:
    """End the doubt about messages that no provider can be asked about, as an operator decides; how many.

    Nothing is sent again, whatever is decided: ``accepted`` counts as sent, ``failed`` does not.
    """
    ended = [one for one in chosen if resolve_unknown(connection, one.message_id, state, None, now, actor, RESOLVED)]
    record(connection, _told(RESOLVED, ((one.campaign, state) for one in ended), now, actor))
    return len(ended)


def _told(what: str, ended: Iterable[tuple[str, State]], now: datetime, actor: str) -> list[Transition]:
    """A line of history for each campaign and what its messages became, with how many."""
    return [
        Transition(now, what, actor, None, f"{count} became {state}", campaign, NO_RUN)
        for (campaign, state), count in sorted(Counter(ended).items())
    ]


async def reconcile(
    store: Store, clock: Clock, channels: Mapping[str, Channel], actor: str, links: Links | None = None
) -> Reconciled:
    """Ask each message's provider, and write what it knows. What it does not know stays unknown."""
    with store.read() as connection:
        rows = connection.execute(_UNKNOWN).all()
    counts = {State.ACCEPTED: 0, State.FAILED: 0, State.UNKNOWN: 0}
    ended = list[tuple[str, State]]()
    for row in rows:
        channel = channels.get(row.account)
        inquiry = None if channel is None else _inquiry(store, clock, row, channel, links)
        outcome = None if channel is None or inquiry is None else await channel.reconcile(inquiry)
        state = _state(outcome)
        counts[state] += 1
        if state is not State.UNKNOWN and outcome is not None:
            with store.write() as connection:
                if resolve_unknown(connection, row.id, state, outcome.provider_id, clock.now(), actor):
                    ended.append((row.campaign, state))
    with store.write() as connection:
        record(connection, _told(RECONCILED, ended, clock.now(), actor))
    return Reconciled(counts[State.ACCEPTED], counts[State.FAILED], counts[State.UNKNOWN])


def _state(outcome: Outcome | None) -> State:
    if outcome is None:
        return State.UNKNOWN
    if outcome.kind is OutcomeClass.ACCEPTED:
        return State.ACCEPTED
    return State.FAILED if outcome.kind is OutcomeClass.DROP_MESSAGE else State.UNKNOWN


def _inquiry(store: Store, clock: Clock, row: object, channel: Channel, links: Links | None) -> Inquiry | None:
    """What to ask: the message composed again from its version; None when it cannot be any more."""
    made = _compose_again(store, row, channel, links)
    if made is None:
        return None
    sent: int = row.sent_at  # type: ignore[attr-defined]
    return Inquiry(str(made.message.id), made.address, made.payload, clock.machine_at(from_micros(sent)))


def _compose_again(store: Store, row: object, channel: Channel, links: Links | None) -> Composed | None:
    value = row._mapping  # type: ignore[attr-defined]  # noqa: SLF001  # SQLAlchemy's documented way to a row's dict
    lane = Lane(
        *(LaneId(value["lane_id"]), value["run_id"], value["step"], value["channel"], value["account"]),
        *(value["rate"], value["priority"], value["campaign"], value["version"]),
    )
    message = Claimed(
        *(MessageId(value["id"]), value["run_id"], value["user_id"], value["step"], value["address_id"]),
        *(value["arm"], bool(value["held_out"]), from_micros(value["due_at"]), from_micros(value["deadline"])),
        value["attempts"],
    )
    with store.read() as connection:
        ready, _ = compose(connection, lane, [message], channel, links)
    return ready[0] if ready else None
