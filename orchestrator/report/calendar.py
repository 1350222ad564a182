"""The calendar: which campaigns fire when, in whose zones, to about how many, and which of them eat each other's caps.

Everything is read from what is there: launched versions, files, earlier runs, and a stable sample of the users, whose
places tell zones and countries and whose membership of segments tells how far audiences overlap.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import combinations
from statistics import median

from sqlalchemy import ColumnElement, Connection, and_, false, func, literal_column, or_, select, text, true

from orchestrator.audience.segment import clause, count
from orchestrator.campaign.spec import Campaign, Trigger
from orchestrator.campaign.version import Bundle
from orchestrator.ledger.ids import RUN_SHIFT
from orchestrator.ledger.runs import Occasion
from orchestrator.ledger.states import RunState
from orchestrator.plan.audience import audience, sizes
from orchestrator.plan.rules import rule_for
from orchestrator.policy.caps import Caps
from orchestrator.policy.resolver import opening
from orchestrator.report.calendar_triggers import joined_a_day, lately
from orchestrator.report.calendar_values import Calendar, Conflict, Entry, Fire, Holiday, Known, Volume
from orchestrator.store.tables import run, users
from orchestrator.timing.calendars import Holidays, holiday_name
from orchestrator.timing.instants import Interval
from orchestrator.timing.quiet import NEVER_QUIET
from orchestrator.timing.window import Window

SAMPLE = 20_000
"""About so many users are looked at, the same ones each time."""
RUNS = 5
COUNTRIES = 6
MANY = 4
"""More instants of a campaign on one date than that stand in one line."""
_SHARES = 1 << 16
_WHOLE = timedelta(days=2)
"""Longer than a date, with a window over midnight."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """What is known of some users: a share of all, and of each campaign's audience those among them."""

    share: float
    countries: Counter[str]
    members: Mapping[str, frozenset[int]]
    zones: Mapping[str, Counter[str]]
    everywhere: Counter[str]


def calendar(
    connection: Connection, known: Sequence[Known], caps: Caps, span: tuple[date, date], now: datetime
) -> Calendar:
    """The calendar of a span of local dates, both included."""
    since, until = span
    days = [since + timedelta(days=n) for n in range((until - since).days + 1)]
    firing = [one for one in known if any(one.bundle.campaign.schedule.fires_on(day) for day in days)]
    sample = _sample(connection, firing, days, now)
    entries = tuple(_entry(connection, one, sample, days, now) for one in firing)
    everywhere = tuple(zone for zone, _ in sample.everywhere.most_common())
    fires = [
        fire
        for one, entry in zip(firing, entries, strict=True)
        for day in days
        if one.bundle.campaign.schedule.fires_on(day)
        for fire in _fires(one.bundle.campaign, day, entry.zones, everywhere)
    ]
    fires = list(_with_sizes(connection, firing, fires, now))
    conflicts = tuple(_conflicts([one.bundle.campaign for one in firing], caps, days, sample))
    sampled = sum(sample.countries.values())
    holidays = tuple(_holidays(days, sample.countries))
    return Calendar(since, until, entries, tuple(sorted(fires, key=_order)), holidays, conflicts, sampled)


def _order(one: Fire) -> tuple[date, str, str]:
    return one.day, one.campaign, one.at


# --- who: a stable sample --------------------------------------------------------------------------------------------


def _sample(connection: Connection, known: Sequence[Known], days: Sequence[date], now: datetime) -> _Sample:
    total = connection.execute(select(func.count()).select_from(users)).scalar_one()
    cells = min(max(round(_SHARES * SAMPLE / total), 1), _SHARES) if total else _SHARES
    chosen = literal_column("users.id * 40503 % 65536") < cells  # the same users each time, from everywhere
    country = func.coalesce(users.c.country, "")
    places = select(country, users.c.zone_key, func.count()).where(chosen).group_by(country, users.c.zone_key)
    countries: Counter[str] = Counter()
    everywhere: Counter[str] = Counter()
    for code, key, found in connection.execute(places):
        countries[code] += found
        everywhere[key] += found
    members: dict[str, frozenset[int]] = {}
    zones: dict[str, Counter[str]] = {}
    for one in known:
        name = one.bundle.campaign.name
        rows = connection.execute(
            select(users.c.id, users.c.zone_key).where(chosen, _audience(one.bundle, days, connection, now)),
            {"as_of": now},
        ).all()
        members[name] = frozenset(row.id for row in rows)
        zones[name] = Counter(row.zone_key for row in rows)
    return _Sample(cells / _SHARES, countries, members, zones, everywhere)


def _audience(bundle: Bundle, days: Sequence[date], connection: Connection, now: datetime) -> ColumnElement[bool]:
    """Who would get something on any of these dates, as far as one can know now."""
    wanted = audience(bundle, _judged_by(bundle.campaign, days, now), connection.dialect.name)
    trigger = bundle.campaign.schedule.trigger
    joining = true() if trigger is None else lately(connection, trigger, now)
    return and_(wanted, _not_left_out(bundle, connection), joining)


def _not_left_out(bundle: Bundle, connection: Connection) -> ColumnElement[bool]:
    left_out = (clause(name, bundle.segments, connection.dialect.name) for name in bundle.campaign.exclude)
    return or_(false(), *left_out).is_not(true())


def _judged_by(campaign: Campaign, days: Sequence[date], now: datetime) -> list[date]:
    """The dates by which its audience is judged, where that is relative to a date of each user's own.

    Dates in attributes are known beforehand. Last events are not: the week up to now stands for the days to come.
    """
    relative = campaign.schedule.relative_to
    if relative is not None and relative.event:
        return [now.date() - timedelta(days=n) for n in range(7)]
    return [day for day in days if campaign.schedule.fires_on(day)]


# --- how many --------------------------------------------------------------------------------------------------------


def _entry(connection: Connection, one: Known, sample: _Sample, days: Sequence[date], now: datetime) -> Entry:
    campaign = one.bundle.campaign
    windows = {str(window): None for window in windows_of(campaign)}
    zones = tuple(zone for zone, _ in sample.zones[campaign.name].most_common())
    trigger = campaign.schedule.trigger
    volume = _triggered(connection, one.bundle, trigger, days, now) if trigger is not None else None
    volume = volume or _earlier(connection, campaign.name) or _counted(connection, one.bundle, days, now)
    on = "" if trigger is None else trigger.event
    told = (campaign.name, campaign.title, campaign.priority, one.source, one.edited)
    return Entry(*told, tuple(windows), volume, zones, on)


def _triggered(connection: Connection, bundle: Bundle, trigger: Trigger, days: Sequence[date], now: datetime) -> Volume:
    people = joined_a_day(connection, trigger, _audience(bundle, days, connection, now), now)
    return Volume(people, round(people * (1 - bundle.campaign.holdout)), 0, events=True)


_MESSAGES = text("""
    SELECT count(*) FROM message WHERE id >= :low AND id < :high AND NOT held_out
      AND (step = 1 OR sent_at IS NOT NULL)""")


def _earlier(connection: Connection, name: str) -> Volume | None:
    """From the latest runs that were planned to their end."""
    done = run.c.state.in_([RunState.ACTIVE, RunState.DONE])
    latest = select(run.c.id, run.c.audience).where(run.c.campaign == name, done)
    order = (run.c.local_date.desc(), run.c.fires_at.desc(), run.c.id.desc())
    rows = connection.execute(latest.order_by(*order).limit(RUNS)).all()
    if not rows:
        return None
    low = rows[0].id << RUN_SHIFT
    messages = connection.execute(_MESSAGES, {"low": low, "high": low + (1 << RUN_SHIFT)}).scalar_one()
    return Volume(round(median(row.audience for row in rows)), messages, len(rows))


def _counted(connection: Connection, bundle: Bundle, days: Sequence[date], now: datetime) -> Volume:
    """From the segment as it is: one message for everybody who is not held out, which is more than will leave.

    Relative to a date of each user's own: the mean of the dates by which it is judged.
    """
    people = count(connection, _audience(bundle, days, connection, now), now)
    if bundle.campaign.schedule.relative_to is not None:
        people = round(people / len(_judged_by(bundle.campaign, days, now)))
    return Volume(people, round(people * (1 - bundle.campaign.holdout)), 0)


def _with_sizes(connection: Connection, known: Sequence[Known], fires: Sequence[Fire], now: datetime) -> Iterator[Fire]:
    """The firings, each with how many it is for where attributes tell that beforehand."""
    sized: dict[tuple[str, date], int] = {}
    for one in known:
        name, relative = one.bundle.campaign.name, one.bundle.campaign.schedule.relative_to
        if relative is not None and relative.attribute:
            days = [fire.day for fire in fires if fire.campaign == name]
            among = clause(one.bundle.campaign.segment, one.bundle.segments) & _not_left_out(one.bundle, connection)
            found = sizes(connection, one.bundle, days, among, now)
            sized |= {(name, day): people for day, people in found.items()}
    shares = {one.bundle.campaign.name: 1 - one.bundle.campaign.holdout for one in known}
    for fire in fires:
        people = sized.get((fire.campaign, fire.day))
        of_date = None if people is None else Volume(people, round(people * shares[fire.campaign]), 0)
        yield replace(fire, volume=of_date)


# --- when ------------------------------------------------------------------------------------------------------------


def windows_of(campaign: Campaign) -> list[Window]:
    """The windows of its first step, by arm; each once. None where it has none."""
    found = dict.fromkeys(campaign.timing_of(arm, campaign.steps[0]).window for arm in campaign.arms)
    return [window for window in found if window is not None]


def _fires(campaign: Campaign, day: date, zones: Sequence[str], everywhere: Sequence[str]) -> list[Fire]:
    """That of a date, or those of its instants: each, or all in one where they are many."""
    if not campaign.schedule.of_instants:
        return [_fire(campaign, [Occasion(day)], zones, everywhere)]
    instants = [Occasion.of(at) for at in campaign.schedule.instants_on(day)]
    together = [instants] if len(instants) > MANY else [[one] for one in instants]
    return [_fire(campaign, some, zones, everywhere) for some in together]


def _fire(campaign: Campaign, some: Sequence[Occasion], zones: Sequence[str], everywhere: Sequence[str]) -> Fire:
    """Over the zones of the audience; of an empty one, over those of everybody: it may be filled by then."""
    spans = {zone: [pair for one in some for pair in _spans(campaign, one, zone)] for zone in zones or everywhere}
    open_in = {zone: found for zone, found in spans.items() if found}
    opens = min((start for found in open_in.values() for start, _ in found), default=None)
    closes = max((end for found in open_in.values() for _, end in found), default=None)
    return Fire(some[0].day, campaign.name, opens, closes, len(open_in) if zones else 0, _written(campaign, some))


def _spans(campaign: Campaign, occasion: Occasion, zone: str) -> Iterator[Interval]:
    """What is open of the first step in a zone, quiet hours and members' holidays left out of account."""
    step = campaign.steps[0]
    for rule in {rule_for(campaign, arm, step, occasion) for arm in campaign.arms}:
        anybody = replace(rule, holidays=Holidays.IGNORE, days=rule.days[:1])
        if campaign.schedule.trigger is not None:  # members join all day
            anybody = replace(anybody, expires_after=_WHOLE)
        yield from opening(anybody, zone, "", NEVER_QUIET).allowed.intervals


def _written(campaign: Campaign, some: Sequence[Occasion]) -> str:
    """``09:00+08:00``; ``09:00+08:00 … 21:00+08:00 (13×)``."""
    written = [campaign.schedule.written(one.at) for one in some if one.at is not None]
    times = [f"{one:%H:%M}{one.isoformat()[-6:]}" for one in written]
    return f"{times[0]} … {times[-1]} ({len(times)}×)" if len(times) > 1 else "".join(times)


def _holidays(days: Sequence[date], countries: Counter[str]) -> Iterator[Holiday]:
    total = sum(countries.values()) or 1
    most = [(code, n) for code, n in countries.most_common() if code][:COUNTRIES]
    for day in days:
        for code, n in most:
            if name := holiday_name(code, day):
                yield Holiday(day, code, name, n / total)


# --- who eats whose cap ----------------------------------------------------------------------------------------------


def _conflicts(campaigns: Sequence[Campaign], caps: Caps, days: Sequence[date], sample: _Sample) -> Iterator[Conflict]:
    for one, other in combinations(sorted(campaigns, key=lambda each: (-each.priority, each.name)), 2):
        both = tuple(day for day in days if one.schedule.fires_on(day) and other.schedule.fires_on(day))
        rules = _shared_rules(one, other, caps) if both else ()
        mine, others = sample.members[one.name], sample.members[other.name]
        shared = len(mine & others)
        if rules and shared:
            smaller = min(len(mine), len(others))
            yield Conflict(one.name, other.name, both, round(shared / sample.share), shared / smaller, rules)


def _shared_rules(one: Campaign, other: Campaign, caps: Caps) -> tuple[str, ...]:
    """The rules that count messages of both, with less room than the two want on one date."""
    wanted: Counter[str] = Counter()
    touched: dict[str, set[str]] = {}
    rooms: dict[str, int] = {}
    for campaign in (one, other):
        for step in campaign.steps:
            for rule in caps.rules_for(step.channel, campaign.tagged):
                wanted[rule.label] += 1
                touched.setdefault(rule.label, set()).add(campaign.name)
                rooms[rule.label] = rule.most
    return tuple(label for label, n in wanted.items() if len(touched[label]) > 1 and n > rooms[label])
