"""What a version's campaign means to the policy: rules per step and arm, and the gate's terms per step."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from orchestrator.campaign.spec import Arm, Campaign, Late, Schedule, Step, Timing
from orchestrator.clock import EPOCH
from orchestrator.policy.allowed import OnlyTo
from orchestrator.policy.carriers import Carriers
from orchestrator.policy.gate import Terms
from orchestrator.policy.resolver import Rule

STALE_AFTER = {"push": timedelta(days=270)}
"""FCM drops Android tokens after 270 idle days; a token not seen since then is not tried."""

SEARCH_DAYS = 400


def following(schedule: Schedule, day: date) -> date | None:
    """The next local date after ``day`` on which the schedule fires."""
    later = (day + timedelta(days=n) for n in range(1, SEARCH_DAYS))
    return next((date_ for date_ in later if schedule.fires_on(date_)), None)


def rule_of(campaign: Campaign, timing: Timing, channel: str, day: date) -> Rule:
    """The rule for messages of one timing on one channel, for a run's local date."""
    after = following(campaign.schedule, day) if timing.late is Late.NEXT else None
    days = (day,) if after is None else (day, after)
    return Rule(channel, timing.window, days, timing.expires_after, campaign.schedule.members_holidays)


def rule_for(campaign: Campaign, arm: Arm, step: Step, day: date) -> Rule:
    """The rule for one step of one arm."""
    return rule_of(campaign, campaign.timing_of(arm, step), step.channel, day)


def seen_since(channel: str, now: datetime) -> datetime:
    """Addresses of this channel last seen before then are stale."""
    stale = STALE_AFTER.get(channel)
    return EPOCH if stale is None else now - stale


def terms_of(
    campaign: Campaign, step: Step, as_of: datetime, now: datetime, only_to: OnlyTo = None, carriers: Carriers = ()
) -> Terms:
    """What the gate holds this step's messages against."""
    when = step.when
    return Terms(
        channel=step.channel,
        topic=campaign.topic,
        goal=campaign.goal.event,
        came_back_since=as_of if campaign.drop_if_back else None,
        not_reopened=when is not None and when.not_reopened,
        after=when.after if when is not None else timedelta(0),
        seen_since=seen_since(step.channel, now),
        only_to=only_to,
        carriers=carriers,
    )
