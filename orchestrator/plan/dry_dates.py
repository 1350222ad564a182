"""What a dry run says of a schedule relative to a date of each user's own: how many of the segment have one at all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, case, func, select

from orchestrator.audience.segment import clause
from orchestrator.campaign.version import Bundle
from orchestrator.plan.audience import has_own_date
from orchestrator.store.tables import users


@dataclass(frozen=True, slots=True)
class OwnDates:
    """Of the ``segment`` people, ``undated`` have no date in ``name``; the run is for those whose date is ``dated``.

    ``event``: the date is that of the last such event.

    With ``yearly`` the year of ``dated`` does not count. ``offset_days``: how long after it the run is.
    """

    name: str
    event: bool
    dated: date
    yearly: bool
    offset_days: int
    segment: int
    undated: int


def own_dates(connection: Connection, bundle: Bundle, day: date, now: datetime) -> OwnDates | None:
    """Whose dates are known as of ``now``; None where the schedule goes by no such dates."""
    relative = bundle.campaign.schedule.relative_to
    if relative is None:
        return None
    dated = func.coalesce(func.sum(case((has_own_date(relative), 1), else_=0)), 0)
    chosen = clause(bundle.campaign.segment, bundle.segments, connection.dialect.name)
    counted = select(func.count(), dated).select_from(users).where(chosen)
    people, known = connection.execute(counted, {"as_of": now}).one()
    on = relative.dated(day)
    kind = (relative.name, relative.event is not None)
    return OwnDates(*kind, on, relative.yearly, relative.offset.days, people, people - known)
