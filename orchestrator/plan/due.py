"""Which runs are due: pure in time, so that daemon, demo and rehearsal share it.

The database decides whether a run exists; asking twice, or from two machines, makes one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from orchestrator.campaign.spec import Campaign, Schedule
from orchestrator.campaign.version import Bundle, read_bundle
from orchestrator.errors import OrchestratorError
from orchestrator.ledger.restored import stop_if_restored
from orchestrator.ledger.runs import Occasion, Run, create_run, read_run
from orchestrator.ledger.states import CampaignState
from orchestrator.plan.rules import SEARCH_DAYS, rule_for
from orchestrator.policy.resolver import Rule, last_end
from orchestrator.store.tables import campaign
from orchestrator.timing.schedule import due_dates, opens_at
from orchestrator.timing.window import WHOLE_DAY, Window
from orchestrator.timing.zonedata import LAST_ZONE

log = logging.getLogger(__name__)

_LONGEST_WINDOW = timedelta(days=4)
"""How long after an instant the window of the local date that it is in, anywhere, may end at the most."""
_RECENT = (timedelta(hours=1), timedelta(days=1))
"""Where the latest firing of a cron string is looked for first: some fire every few minutes."""
_MICROSECOND = timedelta(microseconds=1)


def closes_at(campaign: Campaign, occasion: Occasion) -> datetime:
    """When a run is over for everybody: the last closing of any arm's or step's window, anywhere."""
    rules = [rule_for(campaign, arm, step, occasion) for arm in campaign.arms for step in campaign.steps]
    if occasion.at is not None:
        return max(last_end(rule) for rule in rules)
    ends = [end for rule in rules for on in rule.days for _, end in _clock(rule).on(on, LAST_ZONE).intervals]
    return max(ends) if ends else WHOLE_DAY.on(occasion.day, LAST_ZONE).intervals[-1][1]  # a weekday without a window


def due_runs(connection: Connection, now: datetime) -> list[tuple[Run, Bundle]]:
    """Create the runs of running campaigns whose local date is open or instant past at ``now``; returns the new ones.

    What is over everywhere makes no run: a daemon that slept never sends late.
    """
    columns = (campaign.c.name, campaign.c.version, campaign.c.launched_at)
    running = select(*columns).where(campaign.c.state == CampaignState.RUNNING)
    created = []
    held = running.order_by(campaign.c.name).with_for_update(read=True)  # a launch waits: it finds every run there is
    for name, version, launched_at in connection.execute(held).all():
        try:
            bundle = read_bundle(connection, version)
        except OrchestratorError as error:  # this release does not take it any more: the other campaigns go on
            log.error("version_unreadable", extra={"campaign": name, "version": version[:12], "error": error.message})  # noqa: TRY400
            continue
        for occasion, over in open_at(bundle.campaign, launched_at, now):
            run_id = create_run(connection, name, version, occasion.day, now=now, closes_at=over, fires_at=occasion.at)
            if run_id is not None and not stop_if_restored(connection, made := read_run(connection, run_id), now):
                created.append((made, bundle))
    return created


def open_at(campaign: Campaign, launched_at: datetime, now: datetime) -> list[tuple[Occasion, datetime]]:
    """What a campaign has a run for at ``now``, in order, each with the instant at which it is over.

    Of instants: none from before the launch, and of several firings of a cron string that were missed the latest alone.
    """
    schedule = campaign.schedule
    if schedule.trigger is not None:  # its runs are made as somebody joins them (enrolling)
        return []
    if schedule.of_instants:
        since = max(launched_at, now - _longest(campaign)) - _MICROSECOND
        found = [Occasion.of(at) for at in _due_instants(schedule, since, now)]
    else:
        found = [Occasion(day) for day in due_dates(schedule.fires_on, None, now)]
    known = ((occasion, closes_at(campaign, occasion)) for occasion in found)
    return [(occasion, over) for occasion, over in known if over > now]


def _longest(campaign: Campaign) -> timedelta:
    """How long after its instant anything of a run may leave at the most."""
    timings = [campaign.timing_of(arm, step) for arm in campaign.arms for step in campaign.steps]
    waits = [step.when.latest for step in campaign.steps if step.when is not None]
    return _LONGEST_WINDOW + max(timing.expires_after for timing in timings) + sum(waits, timedelta(0))


def _due_instants(schedule: Schedule, since: datetime, now: datetime) -> list[datetime]:
    """The instants after ``since`` and not after ``now`` that get a run: of ``cron`` the latest alone."""
    if schedule.cron is None:
        return list(schedule.instants(since, now))
    for begin in (*(max(since, now - back) for back in _RECENT), since):
        if found := list(schedule.instants(begin, now)):
            return found[-1:]
    return []


def next_opening(connection: Connection, now: datetime) -> datetime | None:
    """When the next run of any running campaign opens after ``now``; None when none does within ``SEARCH_DAYS``."""
    running = select(campaign.c.version).where(campaign.c.state == CampaignState.RUNNING)
    openings = (_next_of(connection, version, now) for version in connection.execute(running).scalars().all())
    return min((instant for instant in openings if instant is not None), default=None)


def _next_of(connection: Connection, version: str, now: datetime) -> datetime | None:
    try:
        schedule = read_bundle(connection, version).campaign.schedule
    except OrchestratorError:  # said by `due_runs`
        return None
    return next((opens(occasion) for occasion in ahead(schedule, now)), None)


def opens(occasion: Occasion) -> datetime:
    """When the run of a date or of an instant opens."""
    return opens_at(occasion.day) if occasion.at is None else occasion.at


def ahead(schedule: Schedule, now: datetime) -> Iterator[Occasion]:
    """What a schedule's runs are of that open after ``now``, in order, within ``SEARCH_DAYS``; of a trigger: none."""
    if schedule.trigger is not None:
        return
    if schedule.of_instants:
        yield from (Occasion.of(at) for at in schedule.instants(now, now + timedelta(days=SEARCH_DAYS)))
        return
    days = (now.date() + timedelta(days=n) for n in range(-1, SEARCH_DAYS))
    yield from (Occasion(day) for day in days if opens_at(day) > now and schedule.fires_on(day))


def _clock(rule: Rule) -> Window:
    return rule.window or WHOLE_DAY
