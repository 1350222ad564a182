"""What the campaign said, read from the version in the ledger: a report needs no files."""

from __future__ import annotations

from sqlalchemy import Connection, select

from orchestrator.campaign.spec import Campaign
from orchestrator.campaign.version import read_bundle
from orchestrator.errors import NotFoundError, did_you_mean
from orchestrator.report.values import Launched, Opening
from orchestrator.store.tables import campaign as campaigns
from orchestrator.timing.window import Window

DAY = 24 * 60


def launched(connection: Connection, name: str) -> Launched:
    """The campaign as last launched.

    Raises:
        NotFoundError: it was never launched; with the nearest that was.
    """
    versions = {row.name: row.version for row in connection.execute(select(campaigns.c.name, campaigns.c.version))}
    if name not in versions:
        hint = did_you_mean(name, versions) or "nothing was launched yet: `orchestrator launch CAMPAIGN`"
        raise NotFoundError(f"campaign {name!r} was never launched", hint=hint)
    return of_campaign(read_bundle(connection, versions[name]).campaign)


def of_campaign(campaign: Campaign) -> Launched:
    """What a report needs of a campaign."""
    conversion = campaign.goal.conversion
    return Launched(
        name=campaign.name,
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
    return tuple(opening for start, end in window.parts for opening in _opening(start, end))


def _opening(start: int, end: int) -> tuple[Opening, ...]:
    return ((start, end),) if end <= DAY else ((start, DAY), (0, end - DAY))
