"""Who leads: what one process alone may do (planning, sweeping) is done by whoever holds its row.

Machine time throughout. A leader that dies or freezes is followed after ``LEASE``; one that is seen to be dead, from
its own machine, at once. One that wakes up later asks before it does anything, and what it was writing when it froze is
refused by the rows themselves: each step of a plan says from where it goes on.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, text

from orchestrator.clock import to_micros
from orchestrator.ledger import place
from orchestrator.store.tables import leader

LEASE = timedelta(seconds=6)
RENEW = timedelta(seconds=2)
"""How often who leads, and who would, asks: a lost leader is followed within ``LEASE`` and ``RENEW``."""

_LEAD = text("""
    INSERT INTO leader (role, holder, until) VALUES (:role, :holder, :until)
    ON CONFLICT (role) DO UPDATE SET holder = excluded.holder, until = excluded.until
    WHERE leader.holder IN (excluded.holder, :gone) OR leader.until <= :machine
    RETURNING holder""")

_HOLDER = text("SELECT holder FROM leader WHERE role = :role")


def lead(connection: Connection, role: str, holder: str, machine: datetime) -> bool:
    """Whether ``holder`` leads from now on, for ``LEASE``: nobody did, or it did already, or who did is dead.

    A holder that others of its machine may see is ``where:pid:…``, with :func:`orchestrator.ledger.place.here`.
    """
    values = {"role": role, "holder": holder, "until": to_micros(machine + LEASE), "machine": to_micros(machine)}
    if connection.execute(_LEAD, {**values, "gone": holder}).first() is not None:
        return True
    leads = connection.execute(_HOLDER, {"role": role}).scalar() or ""
    return _gone(leads) and connection.execute(_LEAD, {**values, "gone": leads}).first() is not None


def _gone(holder: str) -> bool:
    where, _, rest = holder.partition(":")
    pid = rest.partition(":")[0]
    return pid.isdecimal() and place.gone(where, int(pid))


def resign(connection: Connection, holder: str) -> None:
    """Lead nothing any more, so that another may at once."""
    connection.execute(delete(leader).where(leader.c.holder == holder))
