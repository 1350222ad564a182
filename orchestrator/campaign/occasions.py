"""What runs are called: by their local date, or by the wall clock's time at which their instant was written.

``2026-12-01``, ``2026-12-01T09:00``; with the offset, ``2026-12-01T09:00+08:00``, where a schedule has that time twice.
Whoever names a run may always leave out what is plain without: a date alone will do while it has one run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TypeVar

from sqlalchemy import Connection

from orchestrator.campaign.spec import Campaign, Schedule
from orchestrator.campaign.version import read_bundle
from orchestrator.errors import InputError, OrchestratorError
from orchestrator.ledger.runs import Occasion, Run

T = TypeVar("T")
Named = tuple[str, Occasion, T]
"""What a run is called, what it is of, and what the caller knows it by."""

_TYPED = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2})?)(Z|[+-]\d{2}:?\d{2})?)?")
_SHOWN = 12


def label(schedule: Schedule, occasion: Occasion) -> str:
    """What a run of this schedule is called."""
    if occasion.at is None:
        return occasion.day.isoformat()
    written = schedule.written(occasion.at)
    twins = [one for one in schedule.at if one.replace(tzinfo=None) == written.replace(tzinfo=None)]
    return _clock(written, offset=len(twins) > 1)


def labelled(connection: Connection, version: str, day: date | str, at: datetime | None) -> str:
    """What a run is called that stands in the ledger, by its version; in UTC if that cannot be read any more."""
    if at is None:
        return str(day)
    try:
        return label(read_bundle(connection, version).campaign.schedule, Occasion.of(at))
    except OrchestratorError:
        return _clock(at.astimezone(UTC), offset=True)


def named(connection: Connection, item: Run) -> str:
    """What a run is called."""
    return labelled(connection, item.version, item.local_date, item.fires_at)


def is_occasion(text: str) -> bool:
    """Whether a text may be what a run is called, or part of it."""
    return _TYPED.fullmatch(text.strip()) is not None


def chosen(text: str, known: Sequence[Named[T]], what: str) -> T | None:
    """The one of these runs that a typed date or time means; None: there is none. ``what``: whose they are.

    Raises:
        InputError: it is no date, or it may mean several.
    """
    typed = _TYPED.fullmatch(text.strip())
    if typed is None:
        raise InputError(f"{text[:40]!r} is no date", hint="write it like 2026-12-01, or 2026-12-01T09:00")
    found = [(name, occasion, key) for name, occasion, key in known if _means(typed, name, occasion)]
    if len(found) > 1:
        there = ", ".join(_told(found)[:_SHOWN])
        raise InputError(f"{what} has {len(found)} runs that are called {text}", hint=f"name one: {there}")
    return found[0][2] if found else None


def planned(campaign: Campaign, text: str) -> Occasion:
    """What a typed date or time means of a campaign's schedule, whether there is a run of it or not.

    Raises:
        InputError: it is no date, it may mean several, or it is no instant of the schedule.
    """
    schedule = campaign.schedule
    typed = _TYPED.fullmatch(text.strip())
    try:
        day = date.fromisoformat(typed[1] if typed else "")
    except ValueError:
        raise InputError(f"{text[:40]!r} is no date", hint="write it like 2026-12-01, or 2026-12-01T09:00") from None
    if not schedule.of_instants:
        if typed is not None and typed[2]:
            raise InputError(f"campaign {campaign.name} has runs of local dates", hint=f"give the date alone: {day}")
        return Occasion(day)
    of_day = [Occasion.of(one) for one in schedule.instants_on(day)]
    found = chosen(text, [(label(schedule, one), one, one) for one in of_day], f"campaign {campaign.name}")
    if found is None:
        there = ", ".join(label(schedule, one) for one in of_day[:_SHOWN])
        raise InputError(f"campaign {campaign.name} does not fire at {text}", hint=there or "see its schedule")
    return found


def _means(typed: re.Match[str], name: str, occasion: Occasion) -> bool:
    day, clock, offset = typed.groups()
    if clock is None or occasion.at is None:
        return clock is None and day == occasion.day.isoformat()
    if offset is not None:
        return datetime.fromisoformat(f"{day}T{clock}{offset}") == occasion.at
    named = _TYPED.fullmatch(name)
    return named is not None and day == named[1] and _minutes(clock) == _minutes(named[2])


def _minutes(clock: str | None) -> str:
    """``09:00:00`` as ``09:00``."""
    return clock.removesuffix(":00") if clock and clock.count(":") > 1 else clock or ""


def _told(found: Sequence[Named[T]]) -> list[str]:
    """Their names, with what tells them apart."""
    names = [name for name, _, _ in found]
    if len(set(names)) == len(names):
        return names
    return [name if one.at is None else _clock(one.at.astimezone(UTC), offset=True) for name, one, _ in found]


def _clock(written: datetime, *, offset: bool) -> str:
    text = f"{written:%Y-%m-%dT%H:%M:%S}".removesuffix(":00")
    if not offset:
        return text
    ahead = f"{written:%z}"
    return text + ("Z" if ahead == "+0000" else f"{ahead[:3]}:{ahead[3:5]}")
