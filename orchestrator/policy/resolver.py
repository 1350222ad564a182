"""When a message may leave: window, quiet hours, lateness and expiry in one answer.

Everything here is the same for a whole *class* of members (zone, country, channel, arm), so it is computed once per
class: for planning into the slot table, and again at the gate from the same cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache

from orchestrator.timing.calendars import Holidays, calendar_of
from orchestrator.timing.instants import InstantSet
from orchestrator.timing.quiet import QuietHours
from orchestrator.timing.window import Window
from orchestrator.timing.zones import candidates, on_all


@dataclass(frozen=True, slots=True)
class Rule:
    """When one step of one arm may leave. ``days``: the run's local date, and with ``late: next`` the following one.

    ``holidays``: what is made of those of the member's country, as far as it is known.
    """

    channel: str
    window: Window
    days: tuple[date, ...]
    expires_after: timedelta
    holidays: Holidays = Holidays.IGNORE


@dataclass(frozen=True, slots=True)
class Opening:
    """The instants at which a class may be sent to; ``reason`` says why there are none."""

    allowed: InstantSet
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Now; the provider may keep trying until ``until``, the end of this opening."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Hold:
    """Not before ``until``."""

    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Never."""

    reason: str


Answer = Send | Hold | Drop


@lru_cache(maxsize=50_000)
def opening(rule: Rule, zone_key: str, country: str, quiet: QuietHours) -> Opening:
    """The instants at which members of a class may get a step, whatever the time is now."""
    allowed = InstantSet(())
    days = [day for day in rule.days if _permitted(rule.holidays, country, day)]
    if not days:
        return Opening(allowed, "holiday")
    for day in days:
        allowed |= on_all(rule.window, day, zone_key)
    if not allowed:
        return Opening(allowed, "zone_unknown" if len(candidates(zone_key)) > 1 else "no_window")
    first, last = allowed.intervals[0][0], allowed.intervals[-1][1]
    allowed -= quiet.quiet(rule.channel, country or None, zone_key, first, last)
    if not allowed:
        return Opening(allowed, "quiet_hours")
    return Opening(allowed.clip(first, first + rule.expires_after))


def _permitted(holidays: Holidays, country: str, day: date) -> bool:
    return holidays is Holidays.IGNORE or holidays.permit(calendar_of(country), day)


def resolve(door: Opening, now: datetime) -> Answer:
    """What the rules of a class say at ``now``."""
    current = door.allowed.interval_at(now)
    if current is not None:
        return Send(current[1])
    later = door.allowed.next(now)
    return Drop(door.reason or "late") if later is None else Hold(later, "window")
