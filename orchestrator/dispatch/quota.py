"""Daily quotas of phone makers: how much one device may get from one app a day, asked at the mark.

What is over is thrown away by the provider, mostly in silence, so it waits for the next day, or is not sent at all.
Counted with the batch's users locked, as caps are: an address is one user's, so two batches never take the same place.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Protocol
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, TextClause, text

from orchestrator.clock import to_micros
from orchestrator.dispatch.compose import Composed
from orchestrator.ledger.lanes import ids_since
from orchestrator.ledger.states import State
from orchestrator.policy.caps_sql import lock_users
from orchestrator.policy.gate import Leave
from orchestrator.policy.resolver import Hold
from orchestrator.store.dialect import among, from_sql, one_of_sql

OVER = "quota"


class Quota(Protocol):
    """``most`` messages per address and local day of ``zone``."""

    @property
    def most(self) -> int:
        """How many."""
        ...

    @property
    def zone(self) -> str:
        """Whose midnight begins the day."""
        ...


@cache
def _sql(dialect: str) -> TextClause:
    # a user's messages of the day by the index of caps; what failed was not shown, what is in doubt may have been
    return text(f"""
        SELECT m.id, (SELECT count(*) FROM message AS sent WHERE sent.user_id = m.user_id
                      AND sent.sent_at >= :since {from_sql(dialect, "sent.id")}
                      AND sent.address_id = m.address_id AND sent.id <> m.id
                      AND sent.state IN ('sending', 'accepted', 'delivered', 'undelivered', 'unknown')) AS n
        FROM message m WHERE m.id {one_of_sql(dialect, "ids")}""")


def over_quota(
    connection: Connection, quota: Quota, leaving: Sequence[Composed], now: datetime
) -> dict[int, Hold | Leave]:
    """What becomes of those whose address has had its share today, in the transaction that marks the others."""
    if not leaving:
        return {}
    lock_users(connection, sorted({item.message.user_id for item in leaving}))
    tomorrow = day_of(quota.zone, now)[1]
    counts = sent_today(connection, quota, [item.message.id for item in leaving], now)
    return {
        item.message.id: Hold(tomorrow, OVER) if tomorrow < item.message.deadline else Leave(State.SKIPPED, OVER)
        for item in leaving
        if counts[item.message.id] >= quota.most
    }


def sent_today(connection: Connection, quota: Quota, ids: Sequence[int], now: datetime) -> dict[int, int]:
    """How many others each message's address has had today, by the messages' ids."""
    since = day_of(quota.zone, now)[0]
    asked = {"ids": among(ids), "since": to_micros(since), **ids_since(connection, since)}
    return {row.id: row.n for row in connection.execute(_sql(connection.dialect.name), asked)}


def day_of(zone: str, now: datetime) -> tuple[datetime, datetime]:
    """The local day of an instant: from its midnight to the next."""
    local = now.astimezone(ZoneInfo(zone))
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    following = (midnight.replace(tzinfo=None) + timedelta(days=1)).replace(tzinfo=ZoneInfo(zone))
    return midnight.astimezone(UTC), following.astimezone(UTC)
