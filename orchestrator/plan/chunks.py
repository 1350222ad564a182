"""Chunks: how many users are planned in one transaction, and which."""

from __future__ import annotations

from sqlalchemy import Connection, text

from orchestrator import metrics
from orchestrator.ledger.ids import USER_BITS
from orchestrator.store import Store
from orchestrator.store.counts import MANY, count_run
from orchestrator.store.dialect import chunk_sql

FIRST_CHUNK = 500
MAX_CHUNK = 20_000
CHUNK_SECONDS = 0.025
"""What a chunk aims at before it commits, so that no write transaction takes 50 ms. The commit does not count: where
disks are slow it would make chunks smaller, and there would be more commits."""
PATIENCE = 10
"""Seconds after which PostgreSQL ends a planner that froze in the middle of a chunk, with its rows in hand."""
LAST_USER = 1 << USER_BITS

_HIGH = text("SELECT max(id) FROM (SELECT id FROM users WHERE id > :low AND id <= :last ORDER BY id LIMIT :n) AS chunk")


def chunk_end(connection: Connection, low: int, size: int, last: int = LAST_USER) -> int | None:
    """The last of the next ``size`` users after ``low`` and up to ``last``; None when there are none."""
    found: int | None = connection.execute(_HIGH, {"low": low, "last": last, "n": size}).scalar()
    return found


def begin_chunk(connection: Connection) -> None:
    """What the transaction of a chunk begins with."""
    connection.exec_driver_sql(chunk_sql(connection.dialect.name, PATIENCE))


def next_size(size: int, seconds: float, most: int = MAX_CHUNK) -> int:
    """Towards ``CHUNK_SECONDS``, at most twice or half at a time."""
    wanted = int(size * CHUNK_SECONDS / max(seconds, 1e-6))
    return min(max(wanted, size // 2, FIRST_CHUNK // 5), size * 2, most)


_DECISIONS = text("SELECT decision, coalesce(reason, ''), count(*) FROM member WHERE run_id = :run GROUP BY 1, 2")


def count_members(store: Store, run_id: int) -> None:
    """Let the metrics, and of many the server, know the members of a run that was planned to its end."""
    members = 0
    with store.read() as connection:
        for decision, reason, count in connection.execute(_DECISIONS, {"run": run_id}):
            metrics.members.labels(decision, reason).inc(count)
            members += count
    if members >= MANY:
        count_run(store, run_id)
