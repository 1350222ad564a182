"""What providers answered lately, per account."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, text

from orchestrator.clock import to_micros
from orchestrator.ledger.ids import RUN_SHIFT

# attempts have no index by time: those of runs that are live, or were within the span, are looked through by their ids
_ANSWERS = text(f"""
    SELECT attempt.account, attempt.outcome, count(*) AS n FROM run
    JOIN attempt ON attempt.message_id >= run.id * {1 << RUN_SHIFT}
                AND attempt.message_id < (run.id + 1) * {1 << RUN_SHIFT}
    WHERE (run.finished_at IS NULL OR run.finished_at >= :since) AND attempt.ended_at >= :since
    GROUP BY attempt.account, attempt.outcome ORDER BY attempt.account, n DESC""")


def answers_since(connection: Connection, since: datetime) -> dict[str, dict[str, int]]:
    """How many answers of each class every account has had since an instant (business time)."""
    found: dict[str, dict[str, int]] = {}
    for row in connection.execute(_ANSWERS, {"since": to_micros(since)}):
        found.setdefault(row.account, {})[row.outcome] = row.n
    return found
