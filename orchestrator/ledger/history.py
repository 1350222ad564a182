"""Acts, newest first: what operators did, and what the system did of its own accord to campaigns, runs and accounts.

They are the lines of history that are about no single message, by an index of their own: of hundreds of millions of
lines they are a few thousand. What one act did to many messages is one of them, with the count.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, or_, select

from orchestrator.store.tables import run, transition

OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Act:
    """One act. ``version``, ``day`` and ``fires_at`` are those of the run that it is about, if it is about one."""

    at: datetime
    actor: str
    old: str | None
    new: str
    reason: str | None
    campaign: str | None
    run_id: int | None
    version: str | None
    day: str | None
    fires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which acts: of a campaign and its runs, by an actor, not before an instant; all of them if nothing is said.

    ``actor``: as it is written (``operator anna``, ``scheduler``), an operator's name, or the first word of several.
    """

    campaign: str = ""
    actor: str = ""
    since: datetime | None = None


def acts(connection: Connection, wanted: Wanted, limit: int) -> list[Act]:
    """The latest ``limit`` of them."""
    return [Act(*row) for row in connection.execute(acts_query(wanted, limit))]


_CAMPAIGN = func.coalesce(transition.c.campaign, run.c.campaign)


def acts_query(wanted: Wanted, limit: int) -> Select[Any]:
    """What :func:`acts` asks."""
    line = transition.c
    said = (line.at, line.actor, line.old, line.new, line.reason, _CAMPAIGN, run.c.id)
    query = (
        select(*said, run.c.version, run.c.local_date, run.c.fires_at)
        .select_from(transition.outerjoin(run, run.c.id == line.run_id))
        .where(line.message_id.is_(None))
        .order_by(line.at.desc(), line.id.desc())
        .limit(limit)
    )
    if wanted.campaign:
        query = query.where(_CAMPAIGN.in_([wanted.campaign]))
    if wanted.actor:
        query = query.where(_by(wanted.actor))
    return query if wanted.since is None else query.where(line.at >= wanted.since)


def _by(actor: str) -> ColumnElement[bool]:
    first = f"{actor} "
    several = func.substr(transition.c.actor, 1, len(first)) == first
    return or_(transition.c.actor.in_([actor, f"{OPERATOR} {actor}"]), several)
