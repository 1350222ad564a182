"""What PostgreSQL has counted of its tables, by which it chooses how to go about a statement.

It counts by itself within a minute after much was written. Until then it takes a table that was just filled for nearly
empty, and reads all of it to look one person up: 100,000 members were planned in 77 seconds instead of two and a half.
And it takes a run for empty that its block's figures do not know: each was sent at a sixth of the first one's rate.
SQLite goes by the indexes alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text

from orchestrator.store.blocks import PARTED, blocks
from orchestrator.store.engine import Store

AUDIENCE = ("address", "consent", "event", "suppression", "users")
"""What plans and gates look people up in."""
MANY = 1_000
"""Fewer new rows are not worth counting; of a table that was counted before, neither is a fifth of it."""

_STALE = text(f"""
    SELECT relname FROM pg_stat_user_tables
    WHERE schemaname = current_schema() AND relname IN ('{"', '".join(AUDIENCE)}')
      AND n_mod_since_analyze > {MANY} + n_live_tup / 5 ORDER BY relname""")


def count_anew(store: Store) -> None:
    """Have the audience's tables counted, after much was written; a role that may not leaves it to the server."""
    if store.dialect == "postgresql":
        _count(store, AUDIENCE)


def count_stale(store: Store) -> list[str]:
    """Have those counted of which much has changed since they were; which."""
    if store.dialect != "postgresql":
        return []
    with store.read() as connection:
        stale = [str(name) for name in connection.execute(_STALE).scalars()]
    _count(store, stale)
    return stale


def count_run(store: Store, run_id: int) -> None:
    """Have the members and messages of a run counted that was just planned."""
    if store.dialect != "postgresql":
        return
    with store.read() as connection:
        block = next((one for one in blocks(connection) if one.first <= run_id < one.past), None)
    _count(store, [one.rest if block is None else one.partition(block) for one in PARTED[:2]])


def _count(store: Store, tables: Sequence[str]) -> None:
    for table in tables:  # each by itself: its lock is held no longer than needed
        with store.write() as connection:  # who has it locked (a vacuum, for hours) is not waited for
            connection.exec_driver_sql(f"ANALYZE (SKIP_LOCKED) {table}")
