"""Beijing time, in which the Chinese providers count days: UTC+8 all year, with no clock change since 1991."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

BEIJING = timezone(timedelta(hours=8), "Beijing")
_DAY = timedelta(days=1)


def until_midnight(now: datetime) -> timedelta:
    """How long until the next day begins in Beijing, when daily limits start afresh."""
    local = now.astimezone(BEIJING)
    return (local + _DAY).replace(hour=0, minute=0, second=0, microsecond=0) - local


def until_next_month(now: datetime) -> timedelta:
    """How long until the next month begins in Beijing."""
    local = now.astimezone(BEIJING)
    first = local.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + 32 * _DAY).replace(day=1) - local


def beijing_instant(text: str) -> datetime | None:
    """The instant of ``2026-12-01 11:00:00``, written without a zone; None for what is none."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant.replace(tzinfo=BEIJING) if instant.tzinfo is None else instant
