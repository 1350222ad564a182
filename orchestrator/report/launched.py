"""What the campaign said, read from the version in the ledger: a report needs no files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime

from sqlalchemy import Connection, Row, func, select

from orchestrator.campaign.occasions import Named, chosen, is_occasion, labelled
from orchestrator.campaign.spec import Campaign
from orchestrator.campaign.version import read_bundle
from orchestrator.errors import NotFoundError, did_you_mean
from orchestrator.ledger.runs import Occasion
from orchestrator.report.values import Launched, Opening
from orchestrator.store.tables import campaign as campaigns
from orchestrator.store.tables import run
from orchestrator.timing.window import Window

DAY = 24 * 60
_Found = Row[int, str, str, datetime | None]
_LONGEST_ID = 19
"""Digits: more do not fit into the database."""


def launched(connection: Connection, what: str) -> Launched:
    """A campaign as last launched; or one run of it, as launched then: ``lunch-winback@2026-12-01``, or the run's id.

    Of several runs on one date, the one of ``lunch-winback@2026-12-01T09:00``.

    Raises:
        NotFoundError: it was never launched, or never fired then; with the nearest that was.
        InputError: that may mean several runs; with what they are called.
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


def _run(connection: Connection, name: str, day: str) -> _Found:
    query = select(run.c.id, run.c.version, run.c.local_date, run.c.fires_at)
    if not day:
        found = connection.execute(query.where(run.c.id == int(name))).first() if len(name) < _LONGEST_ID else None
        if found is None:
            raise NotFoundError(f"there is no run {name}", hint="a run is CAMPAIGN@DATE, or its id")
        return found
    _versions(connection, name)
    known = [_named(connection, row) for row in connection.execute(query.where(run.c.campaign == name))]
    found = _chosen(day, known, name)
    if found is None:
        hint = did_you_mean(day, [called for called, _, _ in known]) or "it has not fired yet"
        raise NotFoundError(f"campaign {name!r} has no run of {day}", hint=hint)
    return found


def _named(connection: Connection, row: _Found) -> Named[_Found]:
    occasion = Occasion(date.fromisoformat(row.local_date), row.fires_at)
    return labelled(connection, row.version, row.local_date, row.fires_at), occasion, row


def _chosen(text: str, known: Sequence[Named[_Found]], name: str) -> _Found | None:
    """None too for what is no date: the nearest run's is told."""
    exact = [row for called, _, row in known if called == text]
    if len(exact) == 1 or not is_occasion(text):
        return exact[0] if len(exact) == 1 else None
    return chosen(text, known, f"campaign {name!r}")


def _of_run(connection: Connection, found: _Found) -> Launched:
    launched = of_campaign(read_bundle(connection, found.version).campaign)
    called = labelled(connection, found.version, found.local_date, found.fires_at)
    return replace(launched, run=found.id, local_date=called)


def forgotten_at(connection: Connection, launched: Launched) -> datetime | None:
    """When members of a campaign's runs, or of that run's, were last forgotten; None: they are all there."""
    query = select(func.max(run.c.forgotten_at)).where(run.c.campaign == launched.name)
    found: datetime | None = connection.execute(
        query if launched.run is None else query.where(run.c.id == launched.run)
    ).scalar()
    return found


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
        relative_to=campaign.schedule.relative_to,
        trigger=campaign.schedule.trigger,
        windows={
            (arm.name, step.index): openings(campaign.timing_of(arm, step).window)
            for arm in campaign.arms
            for step in campaign.steps
        },
    )


def openings(window: Window | None) -> tuple[Opening, ...]:
    """A window's minutes of the day; what runs past midnight is two openings. None without a window."""
    return tuple(opening for part in (window.parts if window else ()) for opening in _opening(part.start, part.end))


def _opening(start: int, end: int) -> tuple[Opening, ...]:
    return ((start, end),) if end <= DAY else ((start, DAY), (0, end - DAY))
