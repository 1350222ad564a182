"""Leases: one row per incarnation of a worker. Its id on a message is the fence.

Machine time throughout. Every write of a worker checks its own lease in the same transaction, so one that was frozen
and wakes up changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import Connection, TextClause, insert, select, text, update

from orchestrator.clock import to_micros
from orchestrator.errors import LeaseLostError
from orchestrator.ledger import place
from orchestrator.ledger.ids import WorkerId
from orchestrator.store.dialect import among, keep_rows_sql, one_of_sql, patience_sql, prepared, skip_locked_sql
from orchestrator.store.tables import worker

PATIENCE = 10
"""Seconds after which PostgreSQL ends a worker's transaction in the middle of which it froze: until then nobody can end
its lease. As long as the shortest lease, so nothing waits longer for it."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds messages: the worker, and the machine instant at which it speaks."""

    worker: WorkerId
    machine: datetime


def register(connection: Connection, *, host: str, pid: int, machine: datetime, lease: timedelta) -> WorkerId:
    """A new incarnation; ``host``: :func:`orchestrator.ledger.place.here`."""
    row = {"host": host, "pid": pid, "started_at": machine, "lease_until": machine + lease}
    return WorkerId(connection.execute(insert(worker).values(row).returning(worker.c.id)).scalar_one())


def renew(connection: Connection, holder: Holder, lease: timedelta) -> None:
    """Hold on for another ``lease``.

    Raises:
        LeaseLostError: it ran out before.
    """
    check(connection, holder)
    later = holder.machine + lease
    connection.execute(update(worker).where(worker.c.id == holder.worker).values(lease_until=later))


@cache
def _alive_sql(dialect: str) -> TextClause:
    return prepared(f"""
        SELECT 1{patience_sql(dialect)} FROM worker
        WHERE id = :worker AND ended_at IS NULL AND lease_until > :machine
        {keep_rows_sql(dialect)}""")


def check(connection: Connection, holder: Holder) -> None:
    """Refuse to go on without a live lease; call it in the transaction that writes.

    Nobody ends the lease before that transaction is over: recovery never looks at messages while their worker writes.
    PostgreSQL waits for that no longer than ``PATIENCE``.

    Raises:
        LeaseLostError: the lease ran out, or the worker was ended.
    """
    values = {"worker": holder.worker, "machine": to_micros(holder.machine), "patience": f"{PATIENCE}s"}
    if connection.execute(_alive_sql(connection.dialect.name), values).first() is None:
        raise LeaseLostError(f"worker {holder.worker} lost its lease", hint="it was frozen for longer than the lease")


def end(connection: Connection, worker_id: WorkerId, machine: datetime) -> None:
    """This incarnation is over; what it still holds is found by recovery."""
    connection.execute(
        update(worker).where(worker.c.id == worker_id, worker.c.ended_at.is_(None)).values(ended_at=machine)
    )


def end_silent(connection: Connection, machine: datetime) -> list[WorkerId]:
    """End every incarnation whose lease ran out."""
    silent = worker.c.ended_at.is_(None) & (worker.c.lease_until <= machine)
    ended = connection.execute(update(worker).where(silent).values(ended_at=machine).returning(worker.c.id))
    return [WorkerId(row.id) for row in ended]


@cache
def _end_sql(dialect: str) -> TextClause:
    return text(f"""
        UPDATE worker SET ended_at = :machine WHERE id IN (
            SELECT id FROM worker WHERE id {one_of_sql(dialect, "ids")} AND ended_at IS NULL {skip_locked_sql(dialect)})
        RETURNING id""")


def end_gone(connection: Connection, machine: datetime) -> list[WorkerId]:
    """End every incarnation of this machine whose process is over, without waiting for its lease.

    Nobody waits for a server that is still at a dead process's last statement: it is found at the next look.
    """
    seen = select(worker.c.id, worker.c.host, worker.c.pid).where(
        worker.c.ended_at.is_(None), worker.c.host == place.here()
    )
    dead = [row.id for row in connection.execute(seen) if place.gone(row.host, row.pid)]
    if not dead:
        return []
    ended = connection.execute(_end_sql(connection.dialect.name), {"machine": to_micros(machine), "ids": among(dead)})
    return [WorkerId(row.id) for row in ended]


def end_others(connection: Connection, machine: datetime) -> list[WorkerId]:
    """End every incarnation there is: for SQLite, whose lock file proves that no other writer lives."""
    ended = connection.execute(
        update(worker).where(worker.c.ended_at.is_(None)).values(ended_at=machine).returning(worker.c.id)
    )
    return [WorkerId(row.id) for row in ended]
