"""When a trigger would have fired, by the events there are: for dry runs, the calendar, and launching."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, text

from orchestrator.campaign.spec import Trigger
from orchestrator.campaign.version import Bundle
from orchestrator.clock import ManualClock, from_micros, span_micros, to_micros
from orchestrator.ledger.runs import Run
from orchestrator.plan.heard import first_since
from orchestrator.plan.planner import Planner
from orchestrator.plan.triggers import AHEAD

DAY, WEEK = timedelta(days=1), timedelta(days=7)
_HOUR = timedelta(hours=1)
_CHUNK = 5_000

Fired = tuple[int, datetime]
"""A user, and when their wait was over."""


@dataclass(frozen=True, slots=True)
class Triggered:
    """How often the trigger would have fired in the last day and in the last week: each user no oftener than allowed.

    Whoever did not belong to the segment is among them.
    """

    event: str
    last_day: int
    last_week: int


def fired(connection: Connection, trigger: Trigger, since: datetime, until: datetime) -> list[Fired]:
    """Whose waits were over after ``since`` and by ``until``, in order; nobody again before ``again_after``."""
    first = since - trigger.after
    values = {"event": trigger.event, "unless": trigger.unless or ("",), "after": span_micros(trigger.after)}
    span = {"first": to_micros(first), "last": to_micros(until - trigger.after)}
    low = first_since(connection, first - AHEAD)
    latest: dict[int, datetime] = {}
    found = []
    for user, micros in connection.execute(_FIRED, {**values, **span, "low": low}):
        due = from_micros(micros)
        if user not in latest or due - latest[user] >= trigger.again_after:
            latest[user] = due
            found.append((user, due))
    return found


_FIRED = text("""
    SELECT event.user_id, event.at + :after AS due FROM event
    WHERE event.id > :low AND event.name = :event AND event.at > :first AND event.at <= :last
      AND NOT EXISTS (SELECT 1 FROM event AS newer WHERE newer.user_id = event.user_id AND newer.name = :event
                      AND newer.at > event.at AND newer.at < event.at + :after)
      AND NOT EXISTS (SELECT 1 FROM event AS other WHERE other.user_id = event.user_id AND other.name IN :unless
                      AND other.at >= event.at AND other.at <= event.at + :after)
    ORDER BY due, event.user_id""").bindparams(bindparam("unless", expanding=True))


def triggered(connection: Connection, trigger: Trigger, now: datetime) -> tuple[Triggered, list[Fired]]:
    """How often it would have fired, and for whom in the last day."""
    week = fired(connection, trigger, now - WEEK, now)
    day = [one for one in week if one[1] > now - DAY]
    return Triggered(trigger.event, len(day), len(week)), day


def replay(connection: Connection, planner: Planner, item: Run, bundle: Bundle, found: list[Fired]) -> Run:
    """Let everybody join one run, each as of the end of the hour in which their wait was over."""
    statement = planner.statement(bundle, connection.dialect.name, item.local_date, some=True)
    hours: dict[datetime, list[int]] = {}
    seen: set[int] = set()
    for user, due in found:
        if user not in seen:
            seen.add(user)
            hours.setdefault(due.replace(minute=0, second=0, microsecond=0) + _HOUR, []).append(user)
    for instant, users in hours.items():
        then = replace(planner, clock=ManualClock(instant))
        for begin in range(0, len(users), _CHUNK):
            joined = then.join(connection, statement, item, bundle, users[begin : begin + _CHUNK])
            item = replace(item, audience=item.audience + joined)
    return item
