"""How far this machine's clock is from the database's.

Leases, and who leads, are compared by the clocks of several machines: one that is wrong would end the leases of living
workers, or hold on to one that is over. Whoever is ``MOST`` away or more takes nothing, leads nothing and ends nothing.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, text

from orchestrator.clock import Clock, from_micros

MOST = timedelta(seconds=1)
_NOW = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")


def skew(connection: Connection, clock: Clock) -> timedelta:
    """How far the clocks are apart at least, whatever the question took; on SQLite there is one clock."""
    if connection.dialect.name != "postgresql":
        return timedelta(0)
    before = clock.machine()
    theirs = from_micros(connection.execute(_NOW).scalar_one())
    after = clock.machine()
    return max(before - theirs, theirs - after, timedelta(0))
