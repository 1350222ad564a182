"""Putting right what a dead worker left behind, and expiring what is past its deadline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, TextClause, bindparam, text

from orchestrator import metrics
from orchestrator.clock import to_micros
from orchestrator.ledger.ids import LaneId, WorkerId, ids_of_run, run_of_lane
from orchestrator.ledger.in_doubt import ended_sql, in_doubt
from orchestrator.ledger.lanes import live_ids
from orchestrator.ledger.receipts import apply_kept
from orchestrator.ledger.states import State
from orchestrator.ledger.transition import Transition, record
from orchestrator.store.dialect import from_sql, within_sql

POISON_AFTER = 3
MAX_ATTEMPTS = 5
"""Requests for one message, whatever became of the workers that made them."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """How many messages of dead workers went where."""

    requeued: int = 0
    poisoned: int = 0
    resent: int = 0
    unknown: int = 0


_HELD = text("""
    SELECT message.id, message.state, message.crashes, message.attempts, message.sent_at, message.worker_id,
           message.deadline, lane.channel, lane.account
    FROM message JOIN lane ON lane.id = message.lane_id WHERE message.worker_id IN :workers""").bindparams(
    bindparam("workers", expanding=True)
)
_MOVE = text("""
    UPDATE message SET state = :state, reason = :reason, worker_id = NULL, crashes = crashes + :crash, state_at = :now
    WHERE id = :id AND CASE WHEN state = :old THEN worker_id = :worker END""")
"""In a ``CASE`` as in :func:`orchestrator.store.dialect.held_by_sql`: or all that the worker held is read for each."""
_ATTEMPT = text("""
    INSERT INTO attempt (message_id, n, worker_id, account, started_at, ended_at, outcome, code, detail)
    VALUES (:id, :n, :worker, :account, :started, NULL, 'ambiguous', 'worker_died', 'the worker died before the answer')
    ON CONFLICT DO NOTHING""")


def recover(
    connection: Connection, dead: Sequence[WorkerId], now: datetime, *, resend: Mapping[str, bool]
) -> Recovered:
    """Take back what ended workers held.

    ``claimed`` returns to the queue (the third time as poison). ``sending`` is ambiguous: accounts with ``resend`` true
    go out again under the same collapse key, as long as there are attempts and time left; all else becomes ``unknown``.
    """
    if not dead:
        return Recovered()
    held = connection.execute(_HELD, {"workers": list(dead)}).all()
    moves = [_move(row, now, resend) for row in held]
    if not moves:
        return Recovered()
    doubtful = in_doubt(connection, [move["id"] for move in moves if move["state"] is State.FAILED])
    for move in moves:
        move["state"] = State.UNKNOWN if move["id"] in doubtful else move["state"]
    connection.execute(_MOVE, moves)
    ambiguous = [
        {
            "id": row.id,
            "n": row.attempts,
            "worker": row.worker_id,
            "account": row.account,
            "started": row.sent_at,
        }
        for row in held
        if row.state == State.SENDING
    ]
    if ambiguous:
        connection.execute(_ATTEMPT, ambiguous)
    lines = [Transition(now, m["state"], "sweeper", m["old"], m["reason"], message_id=m["id"]) for m in moves]
    record(connection, lines)
    apply_kept(connection, [move["id"] for move in moves if move["state"] is State.UNKNOWN])
    for row, move in zip(held, moves, strict=True):
        metrics.poisoned.labels(row.channel).inc(move["reason"] == "poison")
    reasons = [move["reason"] for move in moves]
    return Recovered(*(reasons.count(why) for why in ("worker_died", "poison", "resend", "ambiguous")))


def _move(row: Row[Any], now: datetime, resend: Mapping[str, bool]) -> dict[str, Any]:
    message = row._mapping  # noqa: SLF001  # SQLAlchemy's documented way to a row's dict
    move = {
        "id": message["id"],
        "worker": message["worker_id"],
        "old": message["state"],
        "now": to_micros(now),
        "crash": 0,
    }
    if message["state"] == State.SENDING:
        left = message["attempts"] < MAX_ATTEMPTS and to_micros(now) < message["deadline"]
        again = left and resend.get(message["account"], False)
        return {
            **move,
            "state": State.PLANNED if again else State.UNKNOWN,
            "reason": "resend" if again else "ambiguous",
        }
    if message["crashes"] + 1 >= POISON_AFTER:
        return {**move, "state": State.FAILED, "reason": "poison", "crash": 1}
    return {**move, "state": State.PLANNED, "reason": "worker_died", "crash": 1}


@cache
def _expire_sql(dialect: str) -> TextClause:
    return text(f"""
    UPDATE message SET state = {ended_sql(State.EXPIRED, dialect)}, reason = coalesce(reason, 'late'), state_at = :now
    WHERE id IN (SELECT message.id FROM message JOIN run ON run.id = message.run_id
                 WHERE message.lane_id = :lane AND message.state = 'planned' AND message.due_at <= :now
                   AND message.deadline <= :now {within_sql(dialect, "message.id")} LIMIT :n)
    AND state = 'planned' {within_sql(dialect, "id")} RETURNING id, reason, state""")


@cache
def _overdue_sql(dialect: str) -> TextClause:
    return text(f"""
    SELECT lane.id FROM lane JOIN run ON run.id = lane.run_id WHERE run.state = 'active' AND EXISTS (
        SELECT 1 FROM message WHERE message.lane_id = lane.id AND message.state = 'planned'
        AND message.due_at <= :now AND message.deadline <= :now {from_sql(dialect, "message.id")})""")


def overdue_lanes(connection: Connection, now: datetime) -> list[LaneId]:
    """Lanes with something to expire: looked up by a reader, so that nobody waits for the search."""
    asked = {"now": to_micros(now), **live_ids(connection)}
    found = connection.execute(_overdue_sql(connection.dialect.name), asked)
    return [LaneId(row.id) for row in found]


def expire(connection: Connection, lane: int, now: datetime, limit: int = 1000) -> int:
    """Expire waiting messages of a lane past their deadline; how many (at most ``limit``: call again)."""
    values = {"lane": lane, "now": to_micros(now), "n": limit, **ids_of_run(run_of_lane(lane))}
    rows = connection.execute(_expire_sql(connection.dialect.name), values).all()
    lines = [Transition(now, row.state, "sweeper", State.PLANNED, row.reason, message_id=row.id) for row in rows]
    record(connection, lines)
    apply_kept(connection, [row.id for row in rows if row.state == State.UNKNOWN])
    if rows:
        channel = connection.execute(_CHANNEL, {"lane": lane}).scalar_one()
        for state in (State.EXPIRED, State.UNKNOWN):
            metrics.messages.labels(channel, state).inc(sum(row.state == state for row in rows))
    return len(rows)


_CHANNEL = text("SELECT channel FROM lane WHERE id = :lane")
