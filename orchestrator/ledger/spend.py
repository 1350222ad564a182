"""What a campaign's SMS come to, counted in the transaction that marks them: a budget is never overdrawn.

A message counts once, when it is first marked, whatever becomes of it: an estimate that errs on the safe side, since
providers bill most of what they refuse later on. One row a run, so that a campaign's sum is short to read.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from sqlalchemy import Connection, TextClause, text

from orchestrator.store.dialect import lock_rows_sql


@dataclass(frozen=True, slots=True)
class Spent:
    """Messages, and the parts that they are billed as."""

    sms: int = 0
    sms_parts: int = 0


@cache
def _lock(dialect: str) -> TextClause:
    return text(f"SELECT name FROM campaign WHERE name = :campaign {lock_rows_sql(dialect)}")


_SPEND = text("""
    INSERT INTO spend (run_id, campaign, sms, sms_parts) VALUES (:run, :campaign, :sms, :sms_parts)
    ON CONFLICT (run_id) DO UPDATE SET sms = spend.sms + excluded.sms, sms_parts = spend.sms_parts + excluded.sms_parts
    """)


def hold(connection: Connection, campaign: str) -> None:
    """Let nobody else spend of this campaign's budget before this transaction has ended."""
    connection.execute(_lock(connection.dialect.name), {"campaign": campaign})


def spent(connection: Connection, campaign: str, run_id: int | None = None) -> Spent:
    """What a campaign, or one run of it, has spent."""
    if run_id is None:
        found = connection.execute(_ALL, {"campaign": campaign})
    else:
        found = connection.execute(_OF_RUN, {"run": run_id})
    return Spent(*(int(value) for value in found.one()))


_OF_RUN = text("SELECT coalesce(sum(sms), 0), coalesce(sum(sms_parts), 0) FROM spend WHERE run_id = :run")
_ALL = text("SELECT coalesce(sum(sms), 0), coalesce(sum(sms_parts), 0) FROM spend WHERE campaign = :campaign")


def spend(connection: Connection, campaign: str, run_id: int, more: Spent) -> None:
    """Book messages that are marked in this transaction."""
    values = {"run": run_id, "campaign": campaign, "sms": more.sms, "sms_parts": more.sms_parts}
    connection.execute(_SPEND, values)
