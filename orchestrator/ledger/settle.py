"""What came of a request, written: state, attempt, and what is next. Grouped; fenced by the worker's id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, text

from orchestrator.clock import to_micros
from orchestrator.ledger import lease
from orchestrator.ledger.ids import MessageId
from orchestrator.ledger.lease import Holder
from orchestrator.ledger.receipts import apply_kept
from orchestrator.ledger.states import State
from orchestrator.ledger.transition import Transition, record
from orchestrator.store.tables import attempt


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


_SETTLE = text("""
    UPDATE message SET state = :state, reason = :reason, worker_id = NULL, state_at = :now,
                       due_at = coalesce(:due_at, due_at), address_id = coalesce(:address_id, address_id),
                       provider_id = coalesce(:provider_id, provider_id)
    WHERE id = :id AND worker_id = :worker AND state = 'sending'""")


def settle(connection: Connection, holder: Holder, now: datetime, settlements: Sequence[Settlement]) -> None:
    """Write the ends of attempts; receipts that overtook the answer are applied too.

    Raises:
        LeaseLostError: the holder's lease ran out; recovery has these messages.
    """
    lease.check(connection, holder)
    if not settlements:
        return
    connection.execute(_SETTLE, [_row(item, holder, now) for item in settlements])
    connection.execute(insert(attempt), [_attempt(item, holder) for item in settlements])
    accepted = [item.id for item in settlements if item.state is State.ACCEPTED]
    if accepted:
        apply_kept(connection, accepted)
    actor = f"worker {holder.worker}"
    record(
        connection,
        [
            Transition(now, item.state, actor, State.SENDING, item.reason, message_id=item.id)
            for item in settlements
            if item.state is not State.ACCEPTED
        ],
    )


def _row(item: Settlement, holder: Holder, now: datetime) -> dict[str, object]:
    due = None if item.due_at is None else to_micros(item.due_at)
    row = {"id": item.id, "state": item.state, "reason": item.reason, "provider_id": item.provider_id}
    return {
        **row,
        "address_id": item.address_id,
        "due_at": due,
        "worker": holder.worker,
        "now": to_micros(now),
    }


def _attempt(item: Settlement, holder: Holder) -> dict[str, object]:
    row = {"message_id": item.id, "n": item.n, "worker_id": holder.worker, "account": item.account}
    times = {"started_at": item.started_at, "ended_at": item.ended_at}
    answer = {
        "outcome": item.outcome,
        "code": item.code,
        "provider_id": item.provider_id,
        "detail": item.detail,
    }
    return {**row, **times, **answer}
