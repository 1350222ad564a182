"""The gate's answer, written: one grouped transaction before anything leaves.

What may go becomes ``sending``; the rest exits or is held. Nothing leaves before this is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, CursorResult, TextClause

from orchestrator.clock import to_micros
from orchestrator.errors import LeaseLostError
from orchestrator.ledger import lease
from orchestrator.ledger.ids import MessageId
from orchestrator.ledger.in_doubt import in_doubt
from orchestrator.ledger.lease import Holder
from orchestrator.ledger.receipts import apply_kept
from orchestrator.ledger.states import State
from orchestrator.ledger.transition import Transition, record
from orchestrator.store.dialect import among, held_by_sql, named_sql, one_of_sql, prepared, rows, rows_sql


@dataclass(frozen=True, slots=True)
class Exit:
    """A claimed message that is not sent, for good."""

    id: MessageId
    state: State
    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """A claimed message that waits until ``until``; with another address when ``address_id`` is given."""

    id: MessageId
    until: datetime
    reason: str
    address_id: int | None = None


@cache
def _send_sql(dialect: str) -> TextClause:
    return prepared(f"""
        UPDATE message SET state = 'sending', attempts = attempts + 1, crashes = 0, state_at = :now,
          sent_at = CASE WHEN sent_at > :now THEN sent_at ELSE :now END
        WHERE id {one_of_sql(dialect, "ids")} AND {held_by_sql(dialect, State.CLAIMED)}""")


@cache
def _exit_sql(dialect: str) -> TextClause:
    return prepared(f"""
        UPDATE message SET state = one.state, reason = one.reason, worker_id = NULL, crashes = 0, state_at = :now
        FROM {rows_sql(dialect, "rows", id="bigint", state="text", reason="text")} AS one {_of(dialect)}""")


@cache
def _hold_sql(dialect: str) -> TextClause:
    columns = {"id": "bigint", "reason": "text", "until": "bigint", "address_id": "bigint"}
    return prepared(f"""
        UPDATE message SET state = 'planned', reason = one.reason, due_at = one.until, worker_id = NULL, crashes = 0,
                           state_at = :now, address_id = coalesce(one.address_id, message.address_id)
        FROM {rows_sql(dialect, "rows", **columns)} AS one {_of(dialect)}""")


def _of(dialect: str) -> str:
    return f"""WHERE message.id = one.id AND {held_by_sql(dialect, State.CLAIMED, "message.")}
        {named_sql(dialect, "message.id", "ids")}"""


def mark(
    connection: Connection,
    holder: Holder,
    now: datetime,
    *,
    send: Sequence[int],
    out: Sequence[Exit],
    hold: Sequence[Hold],
) -> Sequence[Exit]:
    """Write the gate's verdicts on claimed messages; the exits as they were written.

    What may have arrived before leaves as ``unknown``, whatever its exit says.

    Raises:
        LeaseLostError: the lease ran out, or a message is no longer this worker's.
    """
    lease.check(connection, holder)
    at = {"now": to_micros(now), "worker": holder.worker}
    if send:
        sent = connection.execute(_send_sql(connection.dialect.name), {"ids": among(send), **at})
        _expect(sent, len(send))
    out = _honest(connection, out)
    _all(connection, _exit_sql, [(item.id, item.state, item.reason) for item in out], at)
    kept = [(item.id, item.reason, to_micros(item.until), item.address_id) for item in hold]
    _all(connection, _hold_sql, kept, at)
    apply_kept(connection, [item.id for item in out if item.state in {State.ACCEPTED, State.UNKNOWN}])
    actor = f"worker {holder.worker}"
    lines = [Transition(now, item.state, actor, State.CLAIMED, item.reason, message_id=item.id) for item in out]
    lines += [Transition(now, State.PLANNED, actor, State.CLAIMED, item.reason, message_id=item.id) for item in hold]
    record(connection, lines)
    return out


def _honest(connection: Connection, out: Sequence[Exit]) -> Sequence[Exit]:
    """What may have arrived before does not leave as certainly not sent."""
    doubtful = in_doubt(connection, [item.id for item in out if item.state in _NOT_SENT])
    return [replace(item, state=State.UNKNOWN) if item.id in doubtful else item for item in out] if doubtful else out


_NOT_SENT = frozenset({State.SKIPPED, State.EXPIRED, State.FAILED})


def _all(
    connection: Connection,
    statement: Callable[[str], TextClause],
    some: Sequence[tuple[int, *tuple[str | int | None, ...]]],
    at: Mapping[str, object],
) -> None:
    """Update every one of the rows, or be a zombie."""
    if some:
        values = {"rows": rows(some), "ids": among(one[0] for one in some), **at}
        _expect(connection.execute(statement(connection.dialect.name), values), len(some))


def _expect(changed: CursorResult[Any], rows: int) -> None:
    if changed.rowcount != rows:
        raise LeaseLostError("a claimed message is no longer this worker's", hint="its lease ran out meanwhile")
