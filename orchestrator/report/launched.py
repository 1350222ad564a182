"""What the campaign said, read from the version in the ledger: a report needs no files."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection, Row, select

from orchestrator.campaign.spec import Campaign
from orchestrator.campaign.version import read_bundle
from orchestrator.errors import NotFoundError, did_you_mean
from orchestrator.report.values import Launched, Opening
from orchestrator.store.tables import campaign as campaigns
from orchestrator.store.tables import run
from orchestrator.timing.window import Window

DAY = 24 * 60
_LONGEST_ID = 19
"""Digits: more do not fit into the database."""


def launched(connection: Connection, what: str) -> Launched:
    """A campaign as last launched; or one run of it, as launched then: ``lunch-winback@2026-12-01``, or the run's id.

    Raises:
        NotFoundError: it was never launched, or never fired then; with the nearest that was.
    """
    name, _, day = what.partition("@")
    if day or what.isdecimal():
        return _of_run(connection, _run(connection, name, day))
    return of_campaign(read_bundle(connection, _versions(connection, name)[name]).campaign)


def _versions(connection: Connection, name: str) -> dict[str, str]:
    """The version of every campaign; ``name`` is one of them."""
    versions = {row.name: row.version for row in connection.execute(select(campaigns.c.name, campaigns.c.version))}
    if name not in versions:
        hint = did_you_mean(name, versions) or "nothing was launched yet: `orchestrator launch CAMPAIGN`"
        raise NotFoundError(f"campaign {name!r} was never launched", hint=hint)
    return versions


def _run(connection: Connection, name: str, day: str) -> Row[int, str, str]:
    query = select(run.c.id, run.c.version, run.c.local_date)
    if not day:
        found = connection.execute(query.where(run.c.id == int(name))).first() if len(name) < _LONGEST_ID else None
        if found is None:
            raise NotFoundError(f"there is no run {name}", hint="a run is CAMPAIGN@DATE, or its id")
        return found
    _versions(connection, name)
    runs = {row.local_date: row for row in connection.execute(query.where(run.c.campaign == name))}
    if day not in runs:
        hint = did_you_mean(day, runs) or "it has not fired yet"
        raise NotFoundError(f"campaign {name!r} has no run of {day}", hint=hint)
    return runs[day]


def _of_run(connection: Connection, found: Row[int, str, str]) -> Launched:
    launched = of_campaign(read_bundle(connection, found.version).campaign)
    return replace(launched, run=found.id, local_date=found.local_date)


def of_campaign(campaign: Campaign) -> Launched:
    """What a report needs of a campaign."""
    conversion = campaign.goal.conversion
    return Launched(
        name=campaign.name,
        topic=campaign.topic,
        title=dict(campaign.title),
        segment=campaign.segment,
        goal=campaign.goal.event,
        within=campaign.goal.within,
        conversion=conversion.event if conversion else "",
        conversion_within=conversion.within if conversion else None,
        weights={arm.name: arm.weight for arm in campaign.arms},
        holdout=campaign.holdout,
        windows={
            (arm.name, step.index): openings(campaign.timing_of(arm, step).window)
            for arm in campaign.arms
            for step in campaign.steps
        },
    )


def openings(window: Window) -> tuple[Opening, ...]:
    """A window's minutes of the day; what runs past midnight is two openings."""
    return tuple(opening for part in window.parts for opening in _opening(part.start, part.end))


def _opening(start: int, end: int) -> tuple[Opening, ...]:
    return ((start, end),) if end <= DAY else ((start, DAY), (0, end - DAY))
