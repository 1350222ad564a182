"""What a version's campaign means to the policy: rules per step and arm, and the gate's terms per step."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

from orchestrator.campaign.spec import Arm, Campaign, Late, Schedule, Step, Timing
from orchestrator.clock import EPOCH
from orchestrator.ledger.runs import Occasion
from orchestrator.policy.allowed import OnlyTo
from orchestrator.policy.carriers import Carriers
from orchestrator.policy.cues import CONVERTED, OF_MESSAGES, REOPENED, Cue, Wait
from orchestrator.policy.facts import Terms
from orchestrator.policy.resolver import Rule

STALE_AFTER = {"push": timedelta(days=270)}
"""FCM drops Android tokens after 270 idle days; a token not seen since then is not tried."""

SEARCH_DAYS = 400


def following(schedule: Schedule, day: date) -> date | None:
    """The next local date after ``day`` on which the schedule fires."""
    later = (day + timedelta(days=n) for n in range(1, SEARCH_DAYS))
    return next((date_ for date_ in later if schedule.fires_on(date_)), None)


def rule_of(campaign: Campaign, timing: Timing, channel: str, occasion: Occasion) -> Rule:
    """The rule for messages of one timing on one channel, for a run."""
    told, goes_on = (timing.expires_after, campaign.schedule.members_holidays), timing.late is Late.NEXT
    if occasion.at is not None:
        return Rule(channel, timing.window, (), *told, not_before=occasion.at, next_date=goes_on)
    after = following(campaign.schedule, occasion.day) if goes_on else None
    return Rule(channel, timing.window, (occasion.day,) if after is None else (occasion.day, after), *told)


def rule_for(campaign: Campaign, arm: Arm, step: Step, occasion: Occasion) -> Rule:
    """The rule for one step of one arm.

    Without a window, a later step of an instant's run may leave from the end of its wait on, for as long as the first.
    """
    rule = rule_of(campaign, campaign.timing_of(arm, step), step.channel, occasion)
    if rule.not_before is None or rule.window is not None or step.when is None:
        return rule
    since, waiting = rule.not_before + delay(campaign, step), step.when.latest - step.when.soonest
    return replace(rule, not_before=since, expires_after=rule.expires_after + waiting)


def members_occasion(campaign: Campaign, occasion: Occasion, anchor: datetime | None) -> Occasion:
    """What a run is of to one member: in a triggered campaign, the instant at which it opened for them."""
    return occasion if campaign.schedule.trigger is None else Occasion(occasion.day, anchor)


def delay(campaign: Campaign, step: Step) -> timedelta:
    """How long after the first step a step is due at the earliest."""
    before = (other.when for other in campaign.steps if other.index < step.index)
    own = step.when.soonest if step.when is not None else timedelta(0)
    return sum((when.latest for when in before if when is not None), own)


def seen_since(channel: str, now: datetime) -> datetime:
    """Addresses of this channel last seen before then are stale."""
    stale = STALE_AFTER.get(channel)
    return EPOCH if stale is None else now - stale


def terms_of(
    campaign: Campaign, step: Step, as_of: datetime, now: datetime, only_to: OnlyTo = None, carriers: Carriers = ()
) -> Terms:
    """What the gate holds this step's messages against."""
    when, trigger = step.when, campaign.schedule.trigger
    return Terms(
        channel=step.channel,
        topic=campaign.topic,
        goal=campaign.goal.event,
        came_back_since=as_of if campaign.drop_if_back else None,
        after=when.soonest if when is not None else timedelta(0),
        seen_since=seen_since(step.channel, now),
        only_to=only_to,
        carriers=carriers,
        conversion=_conversion(campaign) if campaign.exit_on_conversion else None,
        unless=_cue(campaign, when.unless) if when is not None else None,
        needs=_cue(campaign, when.needs) if when is not None else None,
        wait=wait_of(campaign, step),
        steps_before=step.index - 1,
        waited=trigger.after if trigger is not None else None,
        needless=trigger.unless if trigger is not None else (),
    )


def _conversion(campaign: Campaign) -> str | None:
    return campaign.goal.conversion.event if campaign.goal.conversion is not None else None


def _cue(campaign: Campaign, word: str | None) -> Cue | None:
    """What a word of the campaign's file means."""
    if word is None:
        return None
    goals = {REOPENED: campaign.goal.event, CONVERTED: _conversion(campaign) or ""}
    return Cue(word, "" if word in OF_MESSAGES else goals.get(word, word))


def wait_of(campaign: Campaign, step: Step) -> Wait | None:
    """What a step waits for, if anything."""
    when = step.when
    cue = _cue(campaign, when.wait_for) if when is not None else None
    return Wait(cue, when.within, when.after) if when is not None and cue is not None else None
