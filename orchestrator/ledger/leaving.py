"""What becomes of messages owed to somebody who was merged or erased: they leave, and the ledger says why.

Only messages that wait are touched. One that a worker holds is stopped by the gate (the old user has neither address
nor consent any more), and one that has left stays as it is.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, literal_column, select, update

from orchestrator.ledger.ids import MAX_STEPS, message_id
from orchestrator.ledger.in_doubt import ended_sql
from orchestrator.ledger.receipts import apply_kept
from orchestrator.ledger.states import RunState, State
from orchestrator.ledger.transition import Transition, record
from orchestrator.store.tables import message, run

MERGED, ERASED = "merged", "erased"
"""Why they leave."""
_ENDED: ColumnElement[str] = literal_column(ended_sql(State.SKIPPED))


def leave(connection: Connection, user_id: int, reason: str, now: datetime, actor: str) -> int:
    """Skip what waits for a user in the runs that are not over; how many messages."""
    live = select(run.c.id, run.c.campaign).where(run.c.state.in_([RunState.PLANNING, RunState.ACTIVE]))
    left: list[Transition] = []
    for run_id, campaign in connection.execute(live).all():
        own = message.c.id.between(message_id(run_id, user_id, 1), message_id(run_id, user_id, MAX_STEPS))
        waiting = update(message).where(own, message.c.state == State.PLANNED)
        gone = waiting.values(state=_ENDED, reason=reason, state_at=now).returning(message.c.id, message.c.state)
        left += [
            Transition(now, row.state, actor, State.PLANNED, reason, campaign, run_id, row.id)
            for row in connection.execute(gone).all()
        ]
    record(connection, left)
    apply_kept(connection, [line.message_id for line in left if line.message_id and line.new == State.UNKNOWN])
    return len(left)
