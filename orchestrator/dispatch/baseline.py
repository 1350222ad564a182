"""How many of an account's messages usually meet a dead address: the share of the last seven days, from the ledger.

A sample is enough, and keeps the question cheap in the middle of settling: a few stretches of each run's messages, at
most some twenty thousand rows, read by the primary key.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise

from sqlalchemy import Connection, bindparam, func, select, text

from orchestrator.clock import to_micros
from orchestrator.ledger.ids import message_id
from orchestrator.store.tables import lane, run, users

SPAN = timedelta(days=7)
NOT_NOW = timedelta(minutes=10)
"""What is happening at the moment is not part of what is usual."""
SAMPLE = 20_000
STRETCHES = 16
LEAST_SENT = 1_000

_SAMPLE = text("""
    SELECT count(*) AS sent, coalesce(sum(CASE WHEN dead THEN 1 ELSE 0 END), 0) AS dead FROM (
        SELECT EXISTS (SELECT 1 FROM attempt WHERE attempt.message_id = message.id
                       AND attempt.message_id >= :low AND attempt.message_id < :high
                       AND attempt.outcome = 'drop_address' AND attempt.started_at < :until)
            OR EXISTS (SELECT 1 FROM address WHERE address.id = message.address_id AND address.end_reason = 'dead'
                       AND address.valid_until >= message.sent_at AND address.valid_until < :until) AS dead
        FROM message WHERE message.id >= :low AND message.id < :high AND message.lane_id IN :lanes
          AND message.sent_at >= :since AND message.sent_at < :until
        ORDER BY message.id LIMIT :most) AS sample""").bindparams(bindparam("lanes", expanding=True))


def dead_share(connection: Connection, account: str, now: datetime) -> float | None:
    """The share of the last seven days' messages whose address was dead; None when fewer than a thousand are known."""
    lanes = _lanes(connection, account, now)
    if not lanes:
        return None
    newest = connection.execute(select(func.max(users.c.id))).scalar() or 0
    between = {"since": to_micros(now - SPAN), "until": to_micros(now - NOT_NOW)}
    most = max(SAMPLE // (len(lanes) * STRETCHES), 50)
    sent = dead = 0
    for run_id, own in lanes.items():
        for low, high in _stretches(run_id, newest):
            found = {"low": low, "high": high, "lanes": own, "most": most, **between}
            row = connection.execute(_SAMPLE, found).one()
            sent, dead = sent + row.sent, dead + row.dead
    return dead / sent if sent >= LEAST_SENT else None


def _lanes(connection: Connection, account: str, now: datetime) -> dict[int, list[int]]:
    """The account's lanes of runs that may have sent within the span, by run, the newest two hundred."""
    recent = (
        select(lane.c.run_id, lane.c.id)
        .join(run, run.c.id == lane.c.run_id)
        .where(lane.c.account == account, run.c.closes_at >= now - SPAN)
        .order_by(lane.c.run_id.desc())
        .limit(200)
    )
    found: dict[int, list[int]] = {}
    for run_id, number in connection.execute(recent):
        found.setdefault(run_id, []).append(number)
    return found


def _stretches(run_id: int, newest: int) -> Iterator[tuple[int, int]]:
    """Where each stretch begins and ends: spread over the users, since old ones die more often than new ones."""
    edges = [newest * part // STRETCHES for part in range(STRETCHES)] + [newest + 1]
    for low, high in pairwise(edges):
        yield message_id(run_id, low, 0), message_id(run_id, high, 0)
