"""What `validate` says of schedules at instants: that they fire no more or very often, and whom windows leave out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice, pairwise

from orchestrator.campaign.occasions import label
from orchestrator.campaign.spec import Campaign
from orchestrator.ledger.runs import Occasion
from orchestrator.plan.due import ahead
from orchestrator.plan.rules import rule_for
from orchestrator.policy.resolver import Rule, opening
from orchestrator.timing.calendars import Holidays
from orchestrator.timing.quiet import NEVER_QUIET
from orchestrator.timing.zonedata import canonical_zones

_LOOKED_AT = 8
"""Firings that are tried: a week of daily ones, and one more."""
_NAMED = 3
_OFTEN = timedelta(hours=1)
"""What fires again sooner is noted: ``* 9 * * mon`` is sixty times on a Monday, and hardly ever meant."""


def instant_notes(campaign: Campaign, now: datetime) -> Iterator[str]:
    """Notes on one campaign; none on those that fire on local dates."""
    if not campaign.schedule.of_instants:
        return
    firings = list(islice(ahead(campaign.schedule, now), _LOOKED_AT))
    if not firings:
        yield f"{campaign.name}: fires at no instant from now on: see its schedule"
        return
    gap = min((later.at - one.at for one, later in pairwise(firings) if one.at and later.at), default=_OFTEN)
    if campaign.schedule.cron is not None and gap < _OFTEN:
        minutes = round(gap.total_seconds() / 60)
        yield f"{campaign.name}: fires again {minutes} min later, for the whole segment each time: see its schedule"
    for rules in _by_window(campaign, firings):
        left_out = [zone for zone in canonical_zones() if not any(_reaches(rule, zone) for rule in rules)]
        if left_out:
            yield _said(campaign, rules[0], firings[0], left_out)


def _by_window(campaign: Campaign, firings: Sequence[Occasion]) -> Iterator[list[Rule]]:
    """The rules of the first step for those firings, by arm; each once, and only those with a window."""
    step = campaign.steps[0]
    known = [[rule_for(campaign, arm, step, one) for one in firings] for arm in campaign.arms]
    yield from {rules[0]: rules for rules in known if rules[0].window is not None}.values()


def _reaches(rule: Rule, zone: str) -> bool:
    return bool(opening(replace(rule, holidays=Holidays.IGNORE), zone, "", NEVER_QUIET).allowed)


def _said(campaign: Campaign, rule: Rule, first: Occasion, left_out: Sequence[str]) -> str:
    at, window = label(campaign.schedule, first), rule.window
    if len(left_out) == len(canonical_zones()):
        return f"{campaign.name}: when it fires, at {at} and later, {window} is over or shut everywhere: nobody gets it"
    cron = campaign.schedule.cron
    own = cron is not None and cron.zone in left_out
    zones = [cron.zone] if cron is not None and own else []
    named = ", ".join([*zones, *(zone for zone in left_out if zone not in zones)][:_NAMED])
    more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
    wait = "" if rule.next_date else "; `late: next` waits for the next date's"
    whose = " (among them the one it is written in)" if own else ""
    return (
        f"{campaign.name}: when it fires, at {at} and later, {window} is over or shut in {len(left_out)} zones{whose}: "
        f"in {named}{more} nobody gets it{wait}"
    )
