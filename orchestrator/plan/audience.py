"""Whom a campaign's run has: the segment, and of it those whose own date it is, where the schedule goes by such dates.

One form for all who ask: the planner, who counts beforehand, and who asks again at the door.

An attribute's date is taken as it is written. That of an event is the local date, in the user's zone, of the last time
it happened until ``:as_of``: :mod:`orchestrator.timing.own_days` says what its instants are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, false, func, or_, select, true

from orchestrator.audience.segment import clause
from orchestrator.audience.segment_past import AS_OF
from orchestrator.campaign.spec import RelativeTo
from orchestrator.campaign.version import Bundle
from orchestrator.store.functions import json_date
from orchestrator.store.tables import event, users
from orchestrator.timing.own_days import by_instants

_DAY = timedelta(days=1)
_INSTANT = timedelta(microseconds=1)
_LEAP_DAY, _KEPT_ON = "02-29", "02-28"


def audience(bundle: Bundle, days: Sequence[date], dialect: str = "") -> ColumnElement[bool]:
    """Who is in the audience of the runs of these local dates: an expression over ``users``; bind ``as_of``.

    The dates make a difference where the schedule is relative to a date of each user's own; they lie within a year.
    Merged users are nobody's audience.

    Raises:
        ConfigError: the segment, or one that it refers to, is wrong or missing.
    """
    return and_(clause(bundle.campaign.segment, bundle.segments, dialect), own_date(bundle, days))


def own_date(bundle: Bundle, days: Sequence[date]) -> ColumnElement[bool]:
    """Whose own date one of the runs of these local dates is for: everybody's where there are no such dates."""
    relative = bundle.campaign.schedule.relative_to
    if relative is None:
        return true()
    dated = sorted({relative.dated(day) for day in days})
    assert dated, "a run has a date"
    return _attribute(relative, dated) if relative.attribute else _event(relative, dated)


def sizes(
    connection: Connection, bundle: Bundle, days: Sequence[date], among: ColumnElement[bool], as_of: datetime
) -> dict[date, int]:
    """Of those ``among`` the users, how many each date's run is for, in one look at them; of attributes alone."""
    relative = bundle.campaign.schedule.relative_to
    assert relative is not None and relative.attribute, "last events of days to come are not known"  # noqa: PT018
    own = written(relative.attribute)
    text = func.substr(own, 6, 5) if relative.yearly else own
    counted = select(text, func.count()).select_from(users).where(among, own_date(bundle, days)).group_by(text)
    found = {row[0]: row[1] for row in connection.execute(counted, {"as_of": as_of})}
    return {day: sum(found.get(text, 0) for text in _texts(relative, day)) for day in days}


def _texts(relative: RelativeTo, day: date) -> tuple[str, ...]:
    dated = relative.dated(day)
    return month_days(dated) if relative.yearly else (dated.isoformat(),)


def has_own_date(relative: RelativeTo) -> ColumnElement[bool]:
    """Of whom any such date is known as of ``:as_of``."""
    if relative.attribute:
        return written(relative.attribute).is_not(None)
    return _last(relative).is_not(None)


def written(attribute: str) -> ColumnElement[Any]:
    """The date in an attribute, as it is written; NULL where it holds none."""
    return json_date(users.c.attributes, attribute)


def _attribute(relative: RelativeTo, dated: Sequence[date]) -> ColumnElement[bool]:
    own = written(relative.name)
    if not relative.yearly:
        return own.in_([day.isoformat() for day in dated])
    round_days = sorted({text for day in dated for text in month_days(day)})
    return and_(func.substr(own, 6, 5).in_(round_days), own <= dated[-1].isoformat())


def month_days(day: date) -> tuple[str, ...]:
    """Which months and days come round on a date: 29 February is kept on the 28th in years that have none."""
    own = f"{day:%m-%d}"
    kept = own == _KEPT_ON and (day + _DAY).month != day.month
    return (own, _LEAP_DAY) if kept else (own,)


def _last(relative: RelativeTo) -> ColumnElement[Any]:
    mine = (event.c.user_id == users.c.id, event.c.name == relative.name, event.c.at <= AS_OF)
    return select(func.max(event.c.at)).where(*mine).correlate(users).scalar_subquery()


def _event(relative: RelativeTo, dated: Sequence[date]) -> ColumnElement[bool]:
    """Almost nobody's last event is near those dates: only who is left is asked for their zone."""
    groups = [group for first, last in _stretches(dated) for group in by_instants(first, last)]
    last = _last(relative)
    near = last.between(min(start for (start, _), _ in groups), max(end for (_, end), _ in groups))
    exact = or_(
        false(),
        *(and_(users.c.zone_key.in_(keys), last.between(start, end - _INSTANT)) for (start, end), keys in groups),
    )
    return case((near, exact), else_=false())


def _stretches(dated: Sequence[date]) -> Iterator[tuple[date, date]]:
    """Dates in order, as first and last of those that follow one another."""
    first = last = dated[0]
    for day in dated[1:]:
        if day - last > _DAY:
            yield first, last
            first = day
        last = day
    yield first, last
