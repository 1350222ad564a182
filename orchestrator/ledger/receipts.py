"""What providers call back: kept once each, applied forward only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache

from sqlalchemy import Connection, TextClause, text

from orchestrator import metrics
from orchestrator.clock import to_micros
from orchestrator.ledger.states import State
from orchestrator.ledger.transition import Transition, record
from orchestrator.store.dialect import among, one_of_sql, prepared

_KEEP = text("""
    INSERT INTO receipt (provider, provider_id, status, state, message_id, code, received_at)
    VALUES (:provider, :provider_id, :status, :state, :message_id, :code, :at) ON CONFLICT DO NOTHING RETURNING id""")

_APPLY = text("""
    UPDATE message SET state = :state, reason = :reason, state_at = :at,
                       provider_id = coalesce(provider_id, :provider_id)
    WHERE id = :message_id AND (state = 'unknown' OR (state = 'accepted' AND :state <> 'accepted'))
    RETURNING sent_at""")


def record_receipt(
    connection: Connection,
    *,
    message_id: int | None,
    provider: str,
    provider_id: str,
    status: str,
    state: State | None,
    code: str,
    at: datetime,
) -> bool:
    """Keep a receipt and move its message forward; False when it was known before.

    A receipt may overtake the provider's own answer: while the message is ``sending`` (or waits for another try) the
    receipt is only kept, and applied when the attempt is settled, or at the next mark.
    """
    row = {
        "provider": provider,
        "provider_id": provider_id,
        "status": status,
        "state": state,
        "message_id": message_id,
    }
    kept = connection.execute(_KEEP, {**row, "code": code, "at": to_micros(at)}).first()
    if kept is None:
        return False
    if message_id is not None and state is not None:
        reason = code or None
        values = {"state": state, "reason": reason, "at": to_micros(at), "provider_id": provider_id}
        applied = connection.execute(_APPLY, {**values, "message_id": message_id}).first()
        if applied is not None:
            if applied.sent_at is not None:
                metrics.webhook_lag_seconds.labels(provider).observe((to_micros(at) - applied.sent_at) / 1e6)
            record(connection, [Transition(at, state, provider, None, reason, message_id=message_id)])
    return True


@cache
def _waiting_sql(dialect: str) -> TextClause:
    return prepared(f"""
    SELECT message_id FROM receipt WHERE message_id {one_of_sql(dialect, "ids")} AND state IS NOT NULL""")


@cache
def _receipts_sql(dialect: str) -> TextClause:
    return text(f"""
    UPDATE message SET (state, reason, provider_id, state_at) = (
        SELECT receipt.state, nullif(receipt.code, ''), coalesce(message.provider_id, receipt.provider_id),
               receipt.received_at
        FROM receipt WHERE receipt.message_id = message.id AND receipt.state IS NOT NULL
        ORDER BY CASE receipt.state WHEN 'delivered' THEN 0 WHEN 'undelivered' THEN 1 ELSE 2 END, receipt.id LIMIT 1)
    WHERE id {one_of_sql(dialect, "ids")}
      AND (state = 'unknown' OR (state = 'accepted' AND EXISTS (
        SELECT 1 FROM receipt WHERE receipt.message_id = message.id
        AND receipt.state IN ('delivered', 'undelivered'))))""")


def apply_kept(connection: Connection, ids: Sequence[int]) -> None:
    """Apply the receipts that had overtaken the end of their attempt: of messages just ``accepted`` or ``unknown``.

    Usually there are none: planning how to apply them would cost PostgreSQL more than the look.
    """
    if not ids:
        return
    dialect = connection.dialect.name
    if waiting := set(connection.execute(_waiting_sql(dialect), {"ids": among(ids)}).scalars()):
        connection.execute(_receipts_sql(dialect), {"ids": among(waiting)})


_NEWEST = text("SELECT coalesce(max(id), 0) FROM receipt")
_CROSSED = text("""
    SELECT DISTINCT receipt.message_id FROM receipt JOIN message ON message.id = receipt.message_id
    WHERE receipt.id > :since AND receipt.state IS NOT NULL
      AND (message.state = 'unknown'
           OR (message.state = 'accepted' AND receipt.state IN ('delivered', 'undelivered')))""")
LATEST = 10_000
"""Receipts that are looked through when nobody knows which have been."""


def crossed(connection: Connection, since: int | None) -> tuple[list[int], int]:
    """Messages that have a receipt after the id ``since`` which nobody has applied; and the newest receipt's id.

    Where several transactions write at once, a receipt that still saw its message ``sending`` may be committed after
    the settle looked for receipts and before it was committed: neither saw the other. ``apply_kept`` does it then.
    """
    newest = int(connection.execute(_NEWEST).scalar_one())
    after = newest - LATEST if since is None else since
    return list(connection.execute(_CROSSED, {"since": after}).scalars()), newest
