"""When a campaign fires next, and when something of a date may leave: for launch and calendar, before a run exists."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from orchestrator.campaign.spec import Campaign
from orchestrator.plan.due import closes_at
from orchestrator.plan.rules import SEARCH_DAYS, rule_for
from orchestrator.policy.resolver import opening
from orchestrator.timing.quiet import QuietHours
from orchestrator.timing.schedule import due_dates, opens_at


@dataclass(frozen=True, slots=True)
class Firing:
    """One local date: its run opens at ``opens`` (``at_once``: that has passed), and is over at ``closes``."""

    day: date
    opens: datetime
    closes: datetime
    at_once: bool


def next_firings(campaign: Campaign, now: datetime, count: int = 3) -> list[Firing]:
    """The dates that would fire at once if it were launched now, and the next ones after them."""
    days = due_dates(campaign.schedule.fires_on, None, now)
    found = [Firing(day, opens_at(day), closes_at(campaign, day), at_once=True) for day in days]
    found = [one for one in found if one.closes > now]
    first = max([one.day for one in found], default=now.date() - timedelta(days=2))
    ahead = (first + timedelta(days=n) for n in range(1, SEARCH_DAYS))
    later = (day for day in ahead if opens_at(day) > now and campaign.schedule.fires_on(day))
    for day in later:
        if len(found) >= count:
            break
        found.append(Firing(day, opens_at(day), closes_at(campaign, day), at_once=False))
    return found


Class = tuple[str, str, str]
"""Arm, zone key and place."""


def first_leaving(
    campaign: Campaign, days: Iterable[date], classes: Iterable[Class], quiet: QuietHours, now: datetime
) -> datetime | None:
    """The first instant from ``now`` on at which the first step may leave to one of these classes; None: never."""
    chosen = list(classes)
    return min(
        (
            instant
            for day in days
            for arm, key, place in chosen
            if (instant := _first(campaign, arm, day, key, place, quiet, now)) is not None
        ),
        default=None,
    )


def _first(  # one value each
    campaign: Campaign, arm: str, day: date, key: str, place: str, quiet: QuietHours, now: datetime
) -> datetime | None:
    rule = rule_for(campaign, campaign.arm(arm), campaign.steps[0], day)
    return opening(rule, key, place, quiet).allowed.next(now)
