"""Triggered campaigns in the calendar: what the events of the last week would have come to is expected of the next."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, TextClause, select, text

from orchestrator.campaign.spec import Trigger
from orchestrator.plan.fired import WEEK, fired
from orchestrator.store.dialect import among, among_sql
from orchestrator.store.tables import users

_DAYS = 7


def lately(connection: Connection, trigger: Trigger, now: datetime) -> TextClause:
    """Whom it would have let join in the last week, if they are in the segment: a condition on ``users``."""
    people = among({user for user, _ in fired(connection, trigger, now - WEEK, now)})
    return text(f"users.id IN {among_sql(connection.dialect.name, 'lately')}").bindparams(lately=people)


def joined_a_day(connection: Connection, trigger: Trigger, who: ColumnElement[bool], now: datetime) -> int:
    """How many of these users join on a date, by the last week."""
    chosen = set(connection.execute(select(users.c.id).where(who), {"as_of": now}).scalars())
    return round(sum(user in chosen for user, _ in fired(connection, trigger, now - WEEK, now)) / _DAYS)
