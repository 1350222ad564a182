"""Taking messages from the queue, which is the ledger itself, lane by lane.

A claim selects and flips in one short transaction. Nobody waits for a lock: PostgreSQL skips locked rows, SQLite has
one writer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from operator import itemgetter
from typing import NamedTuple

from sqlalchemy import Connection, TextClause, text

from orchestrator.clock import from_micros, to_micros
from orchestrator.ledger import lease
from orchestrator.ledger.ids import LaneId, MessageId, ids_of_run, run_of_lane
from orchestrator.ledger.lanes import VERSION, live_ids
from orchestrator.ledger.lease import Holder
from orchestrator.ledger.states import State
from orchestrator.store.dialect import (
    among,
    from_sql,
    held_by_sql,
    one_of_sql,
    prepared,
    read_all,
    skip_locked_sql,
    within_sql,
)

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


class Claimed(NamedTuple):
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


_STOPPED = """EXISTS (SELECT 1 FROM stop WHERE stop.account = lane.account
                  AND (stop.until IS NULL OR stop.until > :machine))"""
"""The account of a lane must not be used."""


@cache
def _due_lanes_sql(dialect: str) -> TextClause:
    return prepared(f"""
    SELECT lane.id, lane.run_id, lane.step, lane.channel, lane.account, lane.rate, lane.priority,
           run.campaign, {VERSION} AS version, lane.campaign_rate
    FROM lane JOIN run ON run.id = lane.run_id JOIN campaign ON campaign.name = run.campaign
    WHERE run.state = 'active' AND campaign.state = 'running'
      AND NOT {_STOPPED}
      AND EXISTS (SELECT 1 FROM message WHERE message.lane_id = lane.id AND message.state = 'planned'
                  AND message.due_at <= :now {from_sql(dialect, "message.id")})
    ORDER BY lane.priority DESC, lane.id""")


@cache
def _next_due_sql(dialect: str) -> TextClause:
    return text(f"""
    SELECT min((SELECT min(message.due_at) FROM message WHERE message.lane_id = lane.id AND message.state = 'planned'
                {from_sql(dialect, "message.id")}))
    FROM lane JOIN run ON run.id = lane.run_id JOIN campaign ON campaign.name = run.campaign
    WHERE run.state = 'active' AND campaign.state = 'running'
      AND NOT {_STOPPED}""")


def due_lanes(connection: Connection, now: datetime, machine: datetime) -> list[Lane]:
    """Lanes that may be claimed from and have something due; highest priority first."""
    asked = {"now": to_micros(now), "machine": to_micros(machine), **live_ids(connection)}
    rows = connection.execute(_due_lanes_sql(connection.dialect.name), asked)
    return [Lane(LaneId(row.id), *row[1:]) for row in rows]


def next_due(connection: Connection, machine: datetime) -> datetime | None:
    """When the next message that may be claimed falls due: of lanes that are neither paused nor stopped."""
    micros = connection.execute(
        _next_due_sql(connection.dialect.name), {"machine": to_micros(machine), **live_ids(connection)}
    ).scalar()
    return None if micros is None else from_micros(micros)


_CLAIMED = ("id", "run_id", "user_id", "step", "address_id", "arm", "held_out", "due_at", "deadline", "attempts")


@cache
def _due_sql(dialect: str) -> str:
    # Asking for suspects apart would read the whole backlog for each batch: no index knows them.
    return f"""FROM (
        SELECT {", ".join(_CLAIMED)}, crashes FROM message
        WHERE lane_id = :lane AND state = 'planned' AND due_at <= :now {within_sql(dialect, "id")}
          AND NOT EXISTS (SELECT 1 FROM lane WHERE lane.id = :lane AND {_STOPPED})
        ORDER BY due_at LIMIT :n {skip_locked_sql(dialect)}) AS due"""


@cache
def _claim_sql(dialect: str) -> TextClause:
    return prepared(f"""
        UPDATE message SET state = 'claimed', worker_id = :worker, state_at = :now
        WHERE id {one_of_sql(dialect, "ids")}""")


def claim(connection: Connection, holder: Holder, lane: LaneId, n: int, now: datetime) -> list[Claimed]:
    """Up to ``n`` due messages of a lane; a suspect (see above) comes alone. None while its account is stopped.

    Raises:
        LeaseLostError: the holder's lease ran out.
    """
    lease.check(connection, holder)
    dialect, values = connection.dialect.name, {"lane": lane, "now": to_micros(now), "n": n}
    values |= {"machine": to_micros(holder.machine), **ids_of_run(run_of_lane(lane))}
    due = read_all(connection, (*_CLAIMED, "crashes"), _due_sql(dialect), values)
    if suspects := [row for row in due if row[-1] >= SUSPECT_AFTER]:
        due = [min(suspects, key=itemgetter(0))]
    if due:
        flip = {"ids": among(row[0] for row in due), "now": to_micros(now), "worker": holder.worker}
        connection.execute(_claim_sql(dialect), flip)
    return [
        Claimed(MessageId(n), run, user, step, to, arm, bool(held_out), from_micros(at), from_micros(end), attempts)
        for n, run, user, step, to, arm, held_out, at, end, attempts, _ in due
    ]


@cache
def _release_sql(dialect: str) -> TextClause:
    return text(f"""
    UPDATE message SET state = 'planned', worker_id = NULL, state_at = :now
    WHERE id {one_of_sql(dialect, "ids")} AND {held_by_sql(dialect, State.CLAIMED)}""")


def release_all(connection: Connection, holder: Holder, now: datetime) -> None:
    """Give everything claimed back as it was: what ends this worker is no message's doing.

    Raises:
        LeaseLostError: the holder's lease ran out.
    """
    lease.check(connection, holder)
    connection.execute(_RELEASE_ALL, {"worker": holder.worker, "now": to_micros(now)})


_RELEASE_ALL = text("""
    UPDATE message SET state = 'planned', worker_id = NULL, state_at = :now
    WHERE worker_id = :worker AND state = 'claimed'""")


def release(connection: Connection, holder: Holder, ids: Sequence[int], now: datetime) -> None:
    """Give claimed messages back as they were.

    Raises:
        LeaseLostError: the holder's lease ran out.
    """
    lease.check(connection, holder)
    if ids:
        values = {"ids": among(ids), "worker": holder.worker, "now": to_micros(now)}
        connection.execute(_release_sql(connection.dialect.name), values)
