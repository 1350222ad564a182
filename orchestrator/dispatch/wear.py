"""Addresses that keep failing without being called dead: a full mailbox, a phone that is off, an unnamed refusal.

Counted over what the ledger has: attempts that were refused, and bad news that came later. Once is never enough: a
phone may be off for a night, and a failure that names no reason at all may be one bad hour of a mail server.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from orchestrator.clock import to_micros

WITHIN = timedelta(days=30)
_DAY = 24 * 3600 * 10**6


@dataclass(frozen=True, slots=True)
class Wear:
    """What is counted, and when it is enough. ``stored``: the codes as SQL's LIKE finds them in the ledger.

    ``times`` failed messages within thirty days; with ``days``, on so many different days. ``kind``: of these addresses
    alone, where another provider's code could look the same.
    """

    code: re.Pattern[str]
    stored: tuple[str, str]
    times: int
    days: bool = False
    kind: str = ""


TABLE: tuple[Wear, ...] = (
    Wear(re.compile(r".*5\.2\.2"), ("%5.2.2", "%5.2.2"), 3),  # mailbox full: "552 5.2.2", "5.2.2", SES's
    Wear(re.compile(r"30003"), ("30003", "30003"), 3),  # Twilio: handset unreachable; others wrongly suppress at once
    # "550" and no enhanced code: no reason given. Of mailboxes: at a gateway, 500 may be its own trouble
    Wear(re.compile(r"5..|5\.0\.0"), ("5__", "5.0.0"), 2, days=True, kind="mailbox"),
    Wear(re.compile(r"successed_ignore"), ("successed_ignore", "successed_ignore"), 3, kind="getui"),  # 90 days idle
    # uninstalled, or notifications off; idle for 14 days (and not 4: no test phone)
    Wear(re.compile(r"invalid_user:[23]"), ("invalid_user:2", "invalid_user:3"), 3, kind="vivo"),
    Wear(re.compile(r"[25]"), ("2", "5"), 3, kind="huawei"),  # not installed, another Android user's token
    Wear(re.compile(r"10"), ("10", "10"), 3, kind="huawei"),  # no contact for a month
)

_KIND = text("SELECT kind FROM address WHERE id = :address")

_FAILED = text("""
    SELECT message.id AS message_id, max(message.sent_at) AS sent_at FROM message
    WHERE message.user_id = (SELECT user_id FROM address WHERE address.id = :address)
      AND message.address_id = :address AND message.sent_at >= :since
      AND (EXISTS (SELECT 1 FROM attempt WHERE attempt.message_id = message.id AND attempt.outcome = 'drop_message'
                   AND (attempt.code LIKE :code OR attempt.code LIKE :other))
           OR EXISTS (SELECT 1 FROM receipt WHERE receipt.message_id = message.id AND receipt.state = 'undelivered'
                      AND (receipt.code LIKE :code OR receipt.code LIKE :other))
           OR message.id = :current)
    GROUP BY message.id""")


def worn_out(connection: Connection, address_id: int, code: str, now: datetime, current: int | None = None) -> bool:
    """Whether an address that failed with this code, just now too, is to be given up.

    ``current``: the message that failed now, where its attempt is not written yet.
    """
    rows = [row for row in TABLE if row.code.fullmatch(code)]
    if not rows:
        return False
    kind = connection.execute(_KIND, {"address": address_id}).scalar()
    row = next((row for row in rows if row.kind in {"", kind}), None)
    if row is None:
        return False
    wanted = {"address": address_id, "since": to_micros(now - WITHIN), "current": current or 0}
    codes = dict(zip(("code", "other"), row.stored, strict=True))
    failed = connection.execute(_FAILED, {**wanted, **codes}).all()
    counted = {one.sent_at // _DAY for one in failed} if row.days else failed
    return len(counted) >= row.times
