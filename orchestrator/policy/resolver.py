"""When a message may leave: window, quiet hours, lateness and expiry in one answer.

Everything here is the same for a whole *class* of members (zone, country, channel, arm), so it is computed once per
class: for planning into the slot table, and again at the gate from the same cache.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

from orchestrator.timing.calendars import Holidays, calendar_of
from orchestrator.timing.instants import InstantSet
from orchestrator.timing.quiet import QuietHours
from orchestrator.timing.window import WHOLE_DAY, Window
from orchestrator.timing.zonedata import LAST_ZONE, canonical_zones
from orchestrator.timing.zones import candidates, on_all

_DAY = timedelta(days=1)
_SEARCHED = 15
"""Local dates among which the next one with a window is looked for: a window has some day of the week."""
_LONGEST = timedelta(days=4)
"""How long after an instant the window of a local date that it is in, and the next one's opening, may begin at most."""
_LOOKS, _CHANGE = 8, timedelta(hours=3)
"""How often a clock is looked at for being like another; and by how much they may differ all the same, in between."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When one step of one arm may leave. ``days``: the run's local date, and with ``late: next`` the following one.

    Of a run at an instant: from ``not_before`` on, in the window of whichever local date that is for each member, and
    with ``next_date`` (``late: next``) in that of the next one; at any time where there is no ``window``.
    ``holidays``: what is made of those of the member's country, as far as it is known.
    """

    channel: str
    window: Window | None
    days: tuple[date, ...]
    expires_after: timedelta
    holidays: Holidays = Holidays.IGNORE
    not_before: datetime | None = None
    next_date: bool = False


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
    found = _on_dates(rule, zone_key, country) if rule.not_before is None else _from(rule, zone_key, country)
    allowed = found.allowed
    if not allowed:
        return found
    first, last = allowed.intervals[0][0], allowed.intervals[-1][1]
    allowed -= quiet.quiet(rule.channel, country or None, zone_key, first, last)
    if not allowed:
        return Opening(allowed, "quiet_hours")
    return Opening(allowed if rule.not_before else allowed.clip(first, first + rule.expires_after))


def _on_dates(rule: Rule, zone_key: str, country: str) -> Opening:
    """The windows of the run's local dates."""
    allowed = InstantSet(())
    days = [day for day in rule.days if _permitted(rule.holidays, country, day)]
    if not days:
        return Opening(allowed, "holiday")
    for day in days:
        allowed |= on_all(rule.window or WHOLE_DAY, day, zone_key)
    if not allowed:
        return Opening(allowed, "zone_unknown" if len(candidates(zone_key)) > 1 else "no_window")
    return Opening(allowed)


def _from(rule: Rule, zone_key: str, country: str) -> Opening:
    """What all the zones that a member may be in allow from an instant on."""
    zones = candidates(zone_key)
    found = [_in_zone(rule, zone, country) for zone in zones]
    reasons = {one.reason for one in found}
    allowed = found[0].allowed
    for one in found[1:]:
        allowed &= one.allowed
    if allowed:
        return Opening(allowed)
    return Opening(allowed, reasons.pop() if len(reasons) == 1 and None not in reasons else "zone_unknown")


@lru_cache(maxsize=16_384)
def _in_zone(rule: Rule, zone: str, country: str) -> Opening:
    """What one zone's clock allows from an instant on.

    ``expires_after`` counts from the first opening of its own date from then on, and from the instant where that date's
    window is over or is none.
    """
    since, window = rule.not_before, rule.window
    assert since is not None, "asked of runs at instants alone"
    own = own_date(window, since, zone)
    free = _permitted(rule.holidays, country, own)
    inside = InstantSet(())
    if free:
        inside = InstantSet(((since, since + rule.expires_after),)) if window is None else window.on(own, zone)
    opens = inside.next(since) or since
    allowed = inside
    if rule.next_date and window is not None:
        allowed = inside | _next_date(rule, window, own, zone, country)
    allowed = allowed.clip(opens, opens + rule.expires_after)
    if allowed:
        return Opening(allowed)
    return Opening(allowed, "late" if inside else "no_window" if free else "holiday")


def own_date(window: Window | None, instant: datetime, zone: str) -> date:
    """The local date whose window counts at an instant: the one before, while its window over midnight is open."""
    day = instant.astimezone(_clock(zone)).date()
    before = day - _DAY
    return before if window is not None and instant in window.on(before, zone) else day


def dates_of(rule: Rule, instant: datetime) -> tuple[date, ...]:
    """The local dates of a rule whose window ``instant`` may lie in: of runs at instants, all that it is anywhere."""
    if rule.not_before is None:
        return rule.days
    day = instant.astimezone(UTC).date()
    return tuple(day + n * _DAY for n in (-2, -1, 0, 1))


def _next_date(rule: Rule, window: Window, own: date, zone: str, country: str) -> InstantSet:
    """The window of the first local date after ``own`` that has one."""
    days = (own + n * _DAY for n in range(1, _SEARCHED))
    return next(
        (found for day in days if _permitted(rule.holidays, country, day) and (found := window.on(day, zone))),
        InstantSet(()),
    )


@lru_cache(maxsize=4096)
def last_end(rule: Rule) -> datetime:
    """When the rule of a run at an instant is over for everybody, anywhere on Earth; at most a little later than that.

    Zones whose clocks show the same all the while are asked as one: planning waits for the answer.
    """
    since, span = rule.not_before, rule.expires_after + _LONGEST
    assert since is not None, "asked of runs at instants alone"
    if rule.window is None:
        return since + rule.expires_after
    anybody = replace(rule, holidays=Holidays.IGNORE)
    clocks = _clocks(since, span)
    found = (_in_zone(anybody, zone, "").allowed for zone in clocks.values())
    end = max((one.intervals[-1][1] for one in found if one), default=since)
    return end + _CHANGE if any(len(set(offsets)) > 1 for offsets in clocks) else end


@lru_cache(maxsize=256)
def _clocks(since: datetime, span: timedelta) -> dict[tuple[timedelta | None, ...], str]:
    """One zone for all whose offsets are the same all the while, by these offsets."""
    looks = [since + span * n / _LOOKS for n in range(_LOOKS + 1)]
    zones = ((zone, _clock(zone)) for zone in (*canonical_zones(), LAST_ZONE))
    return {tuple(at.astimezone(clock).utcoffset() for at in looks): zone for zone, clock in zones}


@cache
def _clock(zone: str) -> ZoneInfo:
    """Kept: zoneinfo itself remembers eight, and reads the others anew each time."""
    return ZoneInfo(zone)


def _permitted(holidays: Holidays, country: str, day: date) -> bool:
    return holidays is Holidays.IGNORE or holidays.permit(calendar_of(country), day)


def resolve(door: Opening, now: datetime) -> Answer:
    """What the rules of a class say at ``now``."""
    current = door.allowed.interval_at(now)
    if current is not None:
        return Send(current[1])
    later = door.allowed.next(now)
    return Drop(door.reason or "late") if later is None else Hold(later, "window")
