"""Which runs are due: pure in time, so that daemon, demo and rehearsal share it.

The database decides whether a run exists; asking twice, or from two machines, makes one.
"""

from __future__ import annotations

import logging
from datetime import date, datetime, timedelta

from sqlalchemy import Connection, select

from orchestrator.campaign.spec import Campaign
from orchestrator.campaign.version import Bundle, read_bundle
from orchestrator.errors import OrchestratorError
from orchestrator.ledger.restored import stop_if_restored
from orchestrator.ledger.runs import Run, create_run, read_run
from orchestrator.ledger.states import CampaignState
from orchestrator.plan.rules import SEARCH_DAYS, rule_for
from orchestrator.store.tables import campaign
from orchestrator.timing.schedule import due_dates, opens_at
from orchestrator.timing.window import Window

log = logging.getLogger(__name__)

_WHOLE_DAY = Window.parse("00:00-24:00")
LAST_ZONE = "Etc/GMT+12"
"""Where every date ends last (the sign is POSIX's: twelve hours behind UTC)."""


def closes_at(campaign: Campaign, day: date) -> datetime:
    """When the run of a date is over for everybody: the last closing of any arm's or step's window, anywhere."""
    rules = [rule_for(campaign, arm, step, day) for arm in campaign.arms for step in campaign.steps]
    ends = [end for rule in rules for on in rule.days for _, end in rule.window.on(on, LAST_ZONE).intervals]
    return max(ends) if ends else _WHOLE_DAY.on(day, LAST_ZONE).intervals[-1][1]  # on a weekday without a window


def due_runs(connection: Connection, now: datetime) -> list[tuple[Run, Bundle]]:
    """Create the runs of running campaigns whose local date is open at ``now``; returns the new ones.

    A date that is over everywhere makes no run: a daemon that slept never sends late.
    """
    running = select(campaign.c.name, campaign.c.version).where(campaign.c.state == CampaignState.RUNNING)
    created = []
    for name, version in connection.execute(running.order_by(campaign.c.name)).all():
        try:
            bundle = read_bundle(connection, version)
        except OrchestratorError as error:  # this release does not take it any more: the other campaigns go on
            log.error("version_unreadable", extra={"campaign": name, "version": version[:12], "error": error.message})  # noqa: TRY400
            continue
        for day in due_dates(bundle.campaign.schedule.fires_on, None, now):
            over = closes_at(bundle.campaign, day)
            if over <= now:
                continue
            run_id = create_run(connection, name, version, day, now=now, closes_at=over)
            if run_id is not None and not stop_if_restored(connection, made := read_run(connection, run_id), now):
                created.append((made, bundle))
    return created


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
    days = (now.date() + timedelta(days=n) for n in range(-1, SEARCH_DAYS))
    return next((opens_at(day) for day in days if opens_at(day) > now and schedule.fires_on(day)), None)
