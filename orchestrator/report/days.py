"""Calendar days of a zone in SQL: an instant becomes the number of its day since 1970, clock changes minded."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, case

from orchestrator.clock import span_micros, to_micros

DAY = span_micros(timedelta(days=1))
EPOCH = date(1970, 1, 1)


def number_of(day: date) -> int:
    """A date as its number."""
    return (day - EPOCH).days


def date_of(number: int) -> date:
    """The date of a number."""
    return EPOCH + timedelta(days=number)


def start_of(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a day."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def day_sql(at: ColumnElement[Any], zone: ZoneInfo, first: datetime, last: datetime) -> ColumnElement[int]:
    """The day of an instant column (microseconds) between two instants; outside them the nearest offset is used."""
    changes = list(offsets(zone, first, last))
    shift: Any = changes[-1][1]
    if len(changes) > 1:
        until = zip(changes[1:], changes, strict=False)
        shift = case(*((at < to_micros(following[0]), one[1]) for following, one in until), else_=changes[-1][1])
    number: ColumnElement[int] = (at + shift) // DAY
    return number


def offsets(zone: ZoneInfo, first: datetime, last: datetime) -> list[tuple[datetime, int]]:
    """(from when, microseconds ahead of UTC), every change between two instants, to the second."""
    found = [(first, _offset(zone, first))]
    at = first
    while at < last:
        following = min(at + timedelta(days=1), last)
        if _offset(zone, following) != found[-1][1]:
            found.append((_change(zone, at, following), _offset(zone, following)))
        at = following
    return found


def _offset(zone: ZoneInfo, at: datetime) -> int:
    return span_micros(at.astimezone(zone).utcoffset() or timedelta(0))


def _change(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The second in which the offset changes between two instants."""
    old = _offset(zone, before)
    before = before.replace(microsecond=0)
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) // 2
        middle = middle.replace(microsecond=0)
        before, after = (middle, after) if _offset(zone, middle) == old else (before, middle)
    return after
