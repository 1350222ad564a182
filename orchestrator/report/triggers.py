"""Triggered campaigns in words, English and Chinese: what lets somebody join, how often it happens, and why one did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, select

from orchestrator.campaign.spec import Trigger
from orchestrator.plan.fired import Triggered
from orchestrator.plan.triggers import NEVER, listening_since
from orchestrator.report.codes import Phrase
from orchestrator.report.words import number, span_words
from orchestrator.store.tables import campaign, enrolled, event, waiting

_HOURS = timedelta(hours=2)
"""From here on a wait is told in hours."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The event that made somebody a member: its name and instant, "" and None where it was erased since."""

    trigger: Trigger
    event: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Forestalled:
    """A trigger event that came to nothing: ``event`` at ``at``, then ``by`` (one of ``unless``) at ``by_at``."""

    event: str
    at: datetime
    by: str
    by_at: datetime


def enrolled_by(connection: Connection, trigger: Trigger, run_id: int, user_id: int) -> Enrolled:
    """By which event a member of a triggered campaign's run joined it."""
    mine = (enrolled.c.run_id == run_id, enrolled.c.user_id == user_id)
    query = select(event.c.name, event.c.at).join(enrolled, enrolled.c.event_id == event.c.id).where(*mine)
    row = connection.execute(query).first()
    return Enrolled(trigger, "", None) if row is None else Enrolled(trigger, row.name, row.at)


def waiting_until(connection: Connection, campaign: str, user_id: int) -> datetime | None:
    """When somebody's wait is over; None for whom nothing has happened that starts one."""
    mine = (waiting.c.campaign == campaign, waiting.c.user_id == user_id, waiting.c.due_at < NEVER)
    return connection.execute(select(waiting.c.due_at).where(*mine)).scalar()


def forestalled(connection: Connection, name: str, trigger: Trigger, user_id: int) -> Forestalled | None:
    """What made the latest trigger event of somebody needless before their wait was over; None where nothing did.

    What happened before the campaign listened does not count.
    """
    theirs = select(event.c.name, event.c.at).where(event.c.user_id == user_id)
    latest = theirs.where(event.c.name == trigger.event).order_by(event.c.at.desc(), event.c.id.desc())
    began = connection.execute(latest.limit(1)).first()
    launched_at = connection.execute(select(campaign.c.launched_at).where(campaign.c.name == name)).scalar()
    if began is None or launched_at is None or listening_since(connection, name, launched_at, began.at) > began.at:
        return None
    meanwhile = event.c.name.in_(trigger.unless), event.c.at.between(began.at, began.at + trigger.after)
    ended = connection.execute(theirs.where(*meanwhile).order_by(event.c.at, event.c.id).limit(1)).first()
    return None if ended is None else Forestalled(began.name, began.at, ended.name, ended.at)


def needless(found: Forestalled, user: str, name: str, trigger: Trigger) -> Phrase:
    """Of somebody who is no member because of what they did next."""
    rule, began, ended = condition(trigger), _in_utc(found.at), _in_utc(found.by_at)
    return Phrase(
        f"{user} has not joined {name}: their {found.event} of {began} was followed by {found.by} at {ended} "
        f"({rule.en}).",
        f"{user} 未进入 {name}：{began} 的 {found.event} 之后，{ended} 发生了 {found.by}（{rule.zh}）。",
    )


def _in_utc(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def not_joined(user: str, name: str, segment: str, trigger: Trigger, until: datetime | None) -> Phrase:
    """Of somebody who is no member; ``until``: when their wait is over."""
    rule = condition(trigger)
    if until is not None:
        when = _in_utc(until)
        return Phrase(
            f"{user} may join {name} at {when}: until then it waits ({rule.en}).",
            f"{user} 可能于 {when} 进入 {name}：在此之前等待（{rule.zh}）。",
        )
    return Phrase(
        f"{user} has not joined {name}: it has not been triggered for them since its launch ({rule.en}), or segment "
        f"{segment} did not select them then.",
        f"{user} 未进入 {name}：启动以来没有触发（{rule.zh}），或触发时不在人群 {segment} 中。",
    )


def joined(found: Enrolled, at: Callable[[datetime], str]) -> Phrase:
    """Why somebody is a member; ``at`` writes an instant on their own clock."""
    rule = condition(found.trigger)
    if found.at is None:
        return Phrase(
            f"Joined by an event that is no longer kept ({rule.en}).", f"由已不再保存的事件触发（{rule.zh}）。"
        )
    when = at(found.at)
    return Phrase(f"Joined by {found.event} of {when} ({rule.en}).", f"由 {when} 的 {found.event} 触发（{rule.zh}）。")


def condition(trigger: Trigger) -> Phrase:
    """``cart_updated, 45 minutes later, unless order_paid meanwhile``."""
    after = _after(trigger.after)
    unless, others = " or ".join(trigger.unless), "、".join(trigger.unless)
    en = f"{trigger.event}, {after.en}{f', unless {unless} meanwhile' if unless else ''}"
    return Phrase(en, f"{trigger.event}，{after.zh}{f'，期间无 {others}' if others else ''}")


def _after(span: timedelta) -> Phrase:
    if not span:
        return Phrase("at once", "立即")
    if span < _HOURS:
        minutes = span / timedelta(minutes=1)
        return Phrase(f"{minutes:g} min later", f"{minutes:g} 分钟后")
    return Phrase(f"{span_words(span, 'en')} later", f"{span_words(span, 'zh')}后")


def how_often(found: Triggered) -> Phrase:
    """What a dry run says of the past."""
    day, week = number(found.last_day), number(found.last_week)
    return Phrase(
        f"By {found.event} it would have been triggered {_times(found.last_day)} in the last 24 hours and "
        f"{_times(found.last_week)} in the last 7 days, in the segment or not; what follows is about those of the last "
        "24 hours.",
        f"按 {found.event}，最近 24 小时会触发 {day} 次，最近 7 天 {week} 次（不论是否在人群中）；"
        "以下为最近 24 小时的情况。",
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{number(count)} times"


def waits_for(trigger: Trigger) -> Phrase:
    """What happens after a launch."""
    rule = condition(trigger)
    return Phrase(f"From now on it waits for each user's {rule.en}", f"即刻起等待每位用户的 {rule.zh}")
