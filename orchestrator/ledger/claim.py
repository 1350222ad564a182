"""Taking messages from the queue, which is the ledger itself, lane by lane.

A claim is one short statement that selects and flips. Nobody waits for a lock: PostgreSQL skips locked rows, SQLite has
one writer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from sqlalchemy import Connection, TextClause, bindparam, text

from orchestrator.clock import from_micros, to_micros
from orchestrator.ledger import lease
from orchestrator.ledger.ids import LaneId, MessageId
from orchestrator.ledger.lanes import VERSION
from orchestrator.ledger.lease import Holder
from orchestrator.store.dialect import skip_locked_sql

SUSPECT_AFTER = 2
"""A message held by this many dead workers is claimed alone, so that a third death proves it guilty."""


@dataclass(frozen=True, slots=True)
class Lane:
    """Messages of one step of one run through one account, with something due."""

    id: LaneId
    run_id: int
    step: int
    channel: str
    account: str
    rate: float | None
    priority: int
    campaign: str
    version: str
    campaign_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message that this worker holds."""

    id: MessageId
    run_id: int
    user_id: int
    step: int
    address_id: int
    arm: str
    held_out: bool
    due_at: datetime
    deadline: datetime
    attempts: int


_DUE_LANES = text(f"""
    SELECT lane.id, lane.run_id, lane.step, lane.channel, lane.account, lane.rate, lane.priority,
           run.campaign, {VERSION} AS version, lane.campaign_rate
    FROM lane JOIN run ON run.id = lane.run_id JOIN campaign ON campaign.name = run.campaign
    WHERE run.state = 'active' AND campaign.state = 'running'
      AND NOT EXISTS (SELECT 1 FROM stop WHERE stop.account = lane.account
                      AND (stop.until IS NULL OR stop.until > :machine))
      AND EXISTS (SELECT 1 FROM message WHERE message.lane_id = lane.id AND message.state = 'planned'
                  AND message.due_at <= :now)
    ORDER BY lane.priority DESC, lane.id""")

_NEXT_DUE = text("""
    SELECT min((SELECT min(message.due_at) FROM message WHERE message.lane_id = lane.id AND message.state = 'planned'))
    FROM lane JOIN run ON run.id = lane.run_id JOIN campaign ON campaign.name = run.campaign
    WHERE run.state = 'active' AND campaign.state = 'running'
      AND NOT EXISTS (SELECT 1 FROM stop WHERE stop.account = lane.account
                      AND (stop.until IS NULL OR stop.until > :machine))""")


def due_lanes(connection: Connection, now: datetime, machine: datetime) -> list[Lane]:
    """Lanes that may be claimed from and have something due; highest priority first."""
    rows = connection.execute(_DUE_LANES, {"now": to_micros(now), "machine": to_micros(machine)})
    return [Lane(LaneId(row.id), *row[1:]) for row in rows]


def next_due(connection: Connection, machine: datetime) -> datetime | None:
    """When the next message that may be claimed falls due: of lanes that are neither paused nor stopped."""
    micros = connection.execute(_NEXT_DUE, {"machine": to_micros(machine)}).scalar()
    return None if micros is None else from_micros(micros)


@cache
def _claim_sql(dialect: str) -> TextClause:
    # Asking for suspects apart would read the whole backlog for each batch: no index knows them.
    return text(f"""
        WITH due AS MATERIALIZED (
            SELECT id, crashes FROM message WHERE lane_id = :lane AND state = 'planned' AND due_at <= :now
            ORDER BY due_at LIMIT :n {skip_locked_sql(dialect)}),
        suspect AS (SELECT min(id) AS id FROM due WHERE crashes >= {SUSPECT_AFTER})
        UPDATE message SET state = 'claimed', worker_id = :worker, state_at = :now
        WHERE id IN (SELECT due.id FROM due, suspect WHERE suspect.id IS NULL OR due.id = suspect.id)
        RETURNING id, run_id, user_id, step, address_id, arm, held_out, due_at, deadline, attempts""")


def claim(connection: Connection, holder: Holder, lane: LaneId, n: int, now: datetime) -> list[Claimed]:
    """Up to ``n`` due messages of a lane; a suspect (see above) comes alone.

    Raises:
        LeaseLostError: the holder's lease ran out.
    """
    lease.check(connection, holder)
    values = {"lane": lane, "now": to_micros(now), "n": n, "worker": holder.worker}
    rows = connection.execute(_claim_sql(connection.dialect.name), values).all()
    return [
        Claimed(MessageId(n), run, user, step, to, arm, bool(held_out), from_micros(due), from_micros(end), attempts)
        for n, run, user, step, to, arm, held_out, due, end, attempts in rows
    ]


_RELEASE = text("""
    UPDATE message SET state = 'planned', worker_id = NULL, state_at = :now
    WHERE id IN :ids AND worker_id = :worker AND state = 'claimed'""").bindparams(bindparam("ids", expanding=True))


def release(connection: Connection, holder: Holder, ids: Sequence[int], now: datetime) -> None:
    """Give claimed messages back as they were.

    Raises:
        LeaseLostError: the holder's lease ran out.
    """
    lease.check(connection, holder)
    if ids:
        connection.execute(_RELEASE, {"ids": list(ids), "worker": holder.worker, "now": to_micros(now)})
