"""Mailboxes that keep failing without being called dead: full three times in a month, or refused on two days.

Counted over what the ledger has: attempts that were refused, and bounces that came later. A failure that names no
reason at all (5xx without an enhanced code) may be one bad hour of a mail server; on another day it is the mailbox.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from orchestrator.clock import to_micros

WITHIN = timedelta(days=30)
FULL_TIMES = 3
_FULL, _UNNAMED = "%5.2.2", "5__"  # as SQL's LIKE has it: "552 5.2.2" and "5.2.2"; "550"

_FAILED = text("""
    SELECT message.id AS message_id, max(message.sent_at) AS sent_at FROM message
    WHERE message.user_id = (SELECT user_id FROM address WHERE address.id = :address)
      AND message.address_id = :address AND message.sent_at >= :since
      AND (EXISTS (SELECT 1 FROM attempt WHERE attempt.message_id = message.id
                   AND attempt.outcome = 'drop_message' AND attempt.code LIKE :code)
           OR EXISTS (SELECT 1 FROM receipt WHERE receipt.message_id = message.id
                      AND receipt.state = 'undelivered' AND receipt.code LIKE :code)
           OR message.id = :current)
    GROUP BY message.id""")


def worn_out(connection: Connection, address_id: int, code: str, now: datetime, current: int | None = None) -> bool:
    """Whether a mailbox that failed with this code, just now too, is to be given up.

    ``current``: the message that failed now, where its attempt is not written yet.
    """
    full = code.endswith("5.2.2")
    if not full and not (len(code) == len(_UNNAMED) and code.startswith("5")):
        return False
    wanted = {"address": address_id, "since": to_micros(now - WITHIN), "current": current or 0}
    failed = connection.execute(_FAILED, {**wanted, "code": _FULL if full else _UNNAMED}).all()
    if full:
        return len(failed) >= FULL_TIMES
    days = {row.sent_at // (24 * 3600 * 10**6) for row in failed}
    return len(days) > 1
