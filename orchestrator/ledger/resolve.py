"""Ending doubt: a message in ``unknown`` whose fate has become known."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, text

from orchestrator.clock import to_micros
from orchestrator.ledger.receipts import apply_kept
from orchestrator.ledger.states import State
from orchestrator.ledger.transition import Transition, record

_RESOLVE = text("""
    UPDATE message SET state = :state, reason = :reason, provider_id = coalesce(:provider_id, provider_id),
                       state_at = :now
    WHERE id = :id AND state = 'unknown' RETURNING id""")


RECONCILED, RESOLVED = "reconciled", "resolved"
"""Who ended the doubt: the provider, or an operator."""


def resolve_unknown(  # one value each
    connection: Connection,
    message_id: int,
    state: State,
    provider_id: str | None,
    now: datetime,
    actor: str,
    reason: str = RECONCILED,
) -> bool:
    """Move an unknown message to ``state``; False when it is not unknown any more."""
    values = {"id": message_id, "state": state, "provider_id": provider_id, "now": to_micros(now), "reason": reason}
    if connection.execute(_RESOLVE, values).first() is None:
        return False
    record(connection, [Transition(now, state, actor, State.UNKNOWN, reason, message_id=message_id)])
    if state is State.ACCEPTED:
        apply_kept(connection, [message_id])
    return True
