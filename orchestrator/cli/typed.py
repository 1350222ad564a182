"""Dates and instants as somebody types them after an option or as an argument."""

from __future__ import annotations

from datetime import UTC, date, datetime

from orchestrator.errors import InputError

FIRST_YEAR, LAST_YEAR = 1900, 2500
"""What the zone data can answer for."""


def typed_date(text: str) -> date:
    """A date.

    Raises:
        InputError: it is none.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"{text[:64]!r} is no date", hint="write it like 2026-12-01") from None


def typed_instant(text: str, option: str) -> datetime:
    """An instant, in UTC.

    Raises:
        InputError: it is none, does not say its offset, or lies in no year that anybody means.
    """
    typed = text.strip()[:64]
    try:
        instant = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InputError(f"{option}: {typed!r} is no instant", hint="write it like 2026-12-15T00:00Z") from None
    if instant.tzinfo is None:
        hint = f"write it like {instant.isoformat()}Z for UTC"
        raise InputError(f"{option}: {typed!r} does not say its offset", hint=hint)
    if not FIRST_YEAR <= instant.year <= LAST_YEAR:
        hint = f"give one from {FIRST_YEAR} to {LAST_YEAR}"
        raise InputError(f"{option}: the year {instant.year} is out of range", hint=hint)
    return instant.astimezone(UTC)
