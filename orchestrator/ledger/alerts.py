"""What an operator has to hear of: written once per key, in the transaction that finds it; delivered by the daemon.

At least once: an alert stays until every place it goes to has taken it. Facts are names of ours and numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select, text, update

from orchestrator.clock import to_micros
from orchestrator.store.tables import alert

GIVE_UP_AFTER = 60
"""Tries, an hour apart at the end: two days and a half."""
LONGEST_WAIT = timedelta(hours=1)
STALE = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing to be heard of. ``key`` is the same over all tries: who takes it twice can tell."""

    key: str
    kind: str
    facts: Mapping[str, str | int | float]
    at: datetime
    tries: int
    posted: bool
    mailed: bool


_RAISE = text("""
    INSERT INTO alert (key, kind, facts, at, next_at) VALUES (:key, :kind, :facts, :at, 0)
    ON CONFLICT (key) DO NOTHING""")


def raise_alert(
    connection: Connection, key: str, kind: str, now: datetime, facts: Mapping[str, str | int | float]
) -> bool:
    """Have operators hear of something, once; whether it is news. ``key`` without the kind."""
    row = {"key": f"{kind}:{key}", "kind": kind, "facts": json.dumps(dict(facts)), "at": to_micros(now)}
    return connection.execute(_RAISE, row).rowcount > 0


def waiting_alerts(connection: Connection, machine: datetime, now: datetime, limit: int = 20) -> list[Alert]:
    """Alerts that are to be delivered now, oldest first; what is days old is no news."""
    due = (
        alert.c.sent_at.is_(None),
        alert.c.next_at <= machine,
        alert.c.tries < GIVE_UP_AFTER,
        alert.c.at > now - STALE,
    )
    rows = connection.execute(select(alert).where(*due).order_by(alert.c.at, alert.c.key).limit(limit))
    return [
        Alert(row.key, row.kind, row.facts, row.at, row.tries, row.posted_at is not None, row.mailed_at is not None)
        for row in rows
    ]


def tried(connection: Connection, one: Alert, machine: datetime, *, posted: bool, mailed: bool, done: bool) -> None:
    """Write down how a try went: which places have it now, and when the next try is due if one has not."""
    wait = min(timedelta(seconds=10) * 2 ** min(one.tries, 12), LONGEST_WAIT)
    values: dict[str, object] = {"tries": one.tries + 1, "next_at": machine + wait}
    if posted and not one.posted:
        values["posted_at"] = machine
    if mailed and not one.mailed:
        values["mailed_at"] = machine
    if done:
        values["sent_at"] = machine
    connection.execute(update(alert).where(alert.c.key == one.key).values(values))
