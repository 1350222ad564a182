"""What waits: to be claimed, how much and since when; to be told of, how much."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import NamedTuple

from sqlalchemy import Connection, TextClause, text

from orchestrator.clock import from_micros, to_micros
from orchestrator.ledger.lanes import live_ids
from orchestrator.store.dialect import from_sql


class Waiting(NamedTuple):
    """Messages of a channel that an account has not claimed; ``oldest``: when the first of them was due, if any."""

    channel: str
    account: str
    messages: int
    oldest: datetime | None


@cache
def _waiting_sql(dialect: str) -> TextClause:
    # Lane by lane, each along its index: all of them joined and grouped are sorted in memory, by the million.
    due = f"""FROM message WHERE message.lane_id = lane.id AND message.state = 'planned'
        AND message.due_at <= :until {from_sql(dialect, "message.id")}"""
    return text(f"""
    SELECT channel, account, CAST(sum(n) AS BIGINT) AS n, min(oldest) AS oldest FROM (
        SELECT lane.channel, lane.account, (SELECT count(*) {due}) AS n, (SELECT min(message.due_at) {due}) AS oldest
        FROM lane JOIN run ON run.id = lane.run_id AND run.state = 'active'
        JOIN campaign ON campaign.name = run.campaign AND campaign.state = 'running') AS waiting
    GROUP BY channel, account""")


def waiting(connection: Connection, until: datetime) -> list[Waiting]:
    """What was due by then and is not claimed, of campaigns that run; accounts that have nothing to do as well."""
    asked = {"until": to_micros(until), **live_ids(connection)}
    rows = connection.execute(_waiting_sql(connection.dialect.name), asked)
    return [
        Waiting(channel, account, n, None if oldest is None else from_micros(oldest))
        for channel, account, n, oldest in rows
    ]


_UNKNOWN = text("""
    SELECT lane.channel, count(*) AS n FROM message JOIN lane ON lane.id = message.lane_id
    WHERE message.state = 'unknown' GROUP BY lane.channel""")


def unknown(connection: Connection) -> dict[str, int]:
    """Messages that may have arrived, by channel: a receipt, or an operator, may yet say so."""
    return {row.channel: row.n for row in connection.execute(_UNKNOWN)}
