"""What came of a request, written: state, attempt, and what is next. Grouped; fenced by the worker's id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from orchestrator.clock import to_micros
from orchestrator.ledger import lease
from orchestrator.ledger.ids import MessageId
from orchestrator.ledger.in_doubt import in_doubt
from orchestrator.ledger.lease import Holder
from orchestrator.ledger.receipts import apply_kept
from orchestrator.ledger.states import State
from orchestrator.ledger.transition import Transition, record
from orchestrator.store.dialect import driver_sql


@dataclass(frozen=True, slots=True)
class Settlement:
    """The end of one attempt. ``due_at`` (and maybe ``address_id``) when it goes back to ``planned``."""

    id: MessageId
    n: int
    account: str
    started_at: datetime
    ended_at: datetime
    outcome: str
    state: State
    reason: str | None = None
    code: str = ""
    provider_id: str | None = None
    detail: str = ""
    due_at: datetime | None = None
    address_id: int | None = None


_SETTLE = """
    UPDATE message SET state = :state, reason = :reason, worker_id = NULL, state_at = :now,
                       due_at = coalesce(:due_at, due_at), address_id = coalesce(:address_id, address_id),
                       provider_id = coalesce(:provider_id, provider_id)
    WHERE id = :id AND worker_id = :worker AND state = 'sending'"""
_ACCEPT = """
    UPDATE message SET state = 'accepted', reason = NULL, worker_id = NULL, state_at = :now,
                       provider_id = coalesce(:provider_id, provider_id)
    WHERE id = :id AND worker_id = :worker AND state = 'sending'"""
"""Most answers: what is not named here needs no index to be written again."""
_ATTEMPT = """
    INSERT INTO attempt (message_id, n, worker_id, account, started_at, ended_at, outcome, code, provider_id, detail)
    VALUES (:id, :n, :worker, :account, :started_at, :ended_at, :outcome, :code, :provider_id, :detail)"""


def settle(
    connection: Connection, holder: Holder, now: datetime, settlements: Sequence[Settlement]
) -> Sequence[Settlement]:
    """Write the ends of attempts, and say how; receipts that overtook the answer are applied too.

    Raises:
        LeaseLostError: the holder's lease ran out; recovery has these messages.
    """
    lease.check(connection, holder)
    if not settlements:
        return settlements
    settlements = _honest(connection, settlements)
    rows, dialect = [_row(item, holder, to_micros(now)) for item in settlements], connection.dialect.name
    accepted = [row for row in rows if row["state"] == State.ACCEPTED]
    others = [row for row in rows if row["state"] != State.ACCEPTED]
    for statement, some in ((_ACCEPT, accepted), (_SETTLE, others), (_ATTEMPT, rows)):
        if some:
            connection.exec_driver_sql(driver_sql(dialect, statement), some)
    actor = f"worker {holder.worker}"
    record(
        connection,
        [
            Transition(now, item.state, actor, State.SENDING, item.reason, message_id=item.id)
            for item in settlements
            if item.state is not State.ACCEPTED
        ],
    )
    apply_kept(connection, [item.id for item in settlements if item.state in {State.ACCEPTED, State.UNKNOWN}])
    return settlements


def _honest(connection: Connection, settlements: Sequence[Settlement]) -> Sequence[Settlement]:
    """Whatever was answered now: a message of which an earlier answer was lost has not certainly failed."""
    ended = [item.id for item in settlements if item.n > 1 and item.state in {State.FAILED, State.EXPIRED}]
    doubtful = in_doubt(connection, ended)
    if not doubtful:
        return settlements
    return [replace(item, state=State.UNKNOWN) if item.id in doubtful else item for item in settlements]


def _row(item: Settlement, holder: Holder, now: int) -> dict[str, Any]:
    """What both statements bind: once a message, so written out."""
    return {
        "id": item.id,
        "n": item.n,
        "worker": holder.worker,
        "account": item.account,
        "state": str(item.state),  # SQLite's driver looks long for how to adapt an enum
        "reason": item.reason,
        "outcome": str(item.outcome),
        "code": item.code,
        "provider_id": item.provider_id,
        "detail": item.detail,
        "address_id": item.address_id,
        "due_at": None if item.due_at is None else to_micros(item.due_at),
        "started_at": to_micros(item.started_at),
        "ended_at": to_micros(item.ended_at),
        "now": now,
    }
