"""When a campaign fires next, and when something of a date may leave: for launch and calendar, before a run exists."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice

from orchestrator.campaign.occasions import label
from orchestrator.campaign.spec import Campaign
from orchestrator.ledger.runs import Occasion
from orchestrator.plan.due import ahead, closes_at, open_at, opens
from orchestrator.plan.rules import rule_for
from orchestrator.policy.resolver import opening
from orchestrator.timing.quiet import QuietHours


@dataclass(frozen=True, slots=True)
class Firing:
    """One local date or instant: its run opens at ``opens`` (``at_once``: that has passed), is over at ``closes``."""

    occasion: Occasion
    opens: datetime
    closes: datetime
    at_once: bool
    called: str
    """The date; the time of an instant where it was written."""

    @property
    def day(self) -> date:
        """The local date; of an instant: its date where it was written."""
        return self.occasion.day


def next_firings(campaign: Campaign, now: datetime, count: int = 3) -> list[Firing]:
    """The dates that would fire at once if it were launched now, and the next ones after them; instants likewise."""
    schedule = campaign.schedule
    found = [
        Firing(one, opens(one), over, at_once=True, called=label(schedule, one))
        for one, over in open_at(campaign, now, now)
    ]
    later = (
        Firing(one, opens(one), closes_at(campaign, one), at_once=False, called=label(schedule, one))
        for one in ahead(schedule, now)
    )
    return [*found, *islice(later, max(count - len(found), 0))]


Class = tuple[str, str, str]
"""Arm, zone key and place."""


def first_leaving(
    campaign: Campaign, occasions: Iterable[Occasion], classes: Iterable[Class], quiet: QuietHours, now: datetime
) -> datetime | None:
    """The first instant from ``now`` on at which the first step may leave to one of these classes; None: never."""
    chosen = list(classes)
    return min(
        (
            instant
            for occasion in occasions
            for arm, key, place in chosen
            if (instant := _first(campaign, arm, occasion, key, place, quiet, now)) is not None
        ),
        default=None,
    )


def _first(  # one value each
    campaign: Campaign, arm: str, occasion: Occasion, key: str, place: str, quiet: QuietHours, now: datetime
) -> datetime | None:
    rule = rule_for(campaign, campaign.arm(arm), campaign.steps[0], occasion)
    return opening(rule, key, place, quiet).allowed.next(now)
