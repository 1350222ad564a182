"""A date of a user's own in words, English and Chinese: why a run is theirs, where a schedule goes by such dates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import Connection, func, select

from orchestrator.campaign.spec import RelativeTo
from orchestrator.plan.audience import month_days, written
from orchestrator.plan.dry_dates import OwnDates
from orchestrator.report.codes import Phrase
from orchestrator.store.tables import event, users
from orchestrator.timing.own_days import date_of


@dataclass(frozen=True, slots=True)
class OwnDate:
    """A user's own date: ``on`` (of an event: that of the last time, ``at``); ``day``: the run for it, if known.

    Of what comes round every year, the year is left out.
    """

    relative_to: RelativeTo
    on: str
    at: datetime | None = None
    day: str = ""


def own_date(connection: Connection, relative: RelativeTo, user_id: int, as_of: datetime) -> OwnDate:
    """A user's own date as of an instant (attributes: as they are now); ``on`` is empty where none is known."""
    if relative.attribute:
        held = connection.execute(select(written(relative.attribute)).where(users.c.id == user_id)).scalar()
        text = str(held or "")
        return OwnDate(relative, text[5:] if relative.yearly else text)
    mine = (event.c.user_id == user_id, event.c.name == relative.name, event.c.at <= as_of)
    at = connection.execute(select(func.max(event.c.at)).where(*mine)).scalar()
    if at is None:
        return OwnDate(relative, "")
    key = connection.execute(select(users.c.zone_key).where(users.c.id == user_id)).scalar_one()
    on = date_of(at, key)
    return OwnDate(relative, on.isoformat(), at, (on + relative.offset).isoformat())


def member_date(connection: Connection, relative: RelativeTo, user_id: int, as_of: datetime, day: date) -> OwnDate:
    """The date for which a user is a member of the run of ``day``, whatever their attribute says now."""
    dated, run = relative.dated(day), day.isoformat()
    found = own_date(connection, relative, user_id, as_of)
    if relative.attribute is None:
        return OwnDate(relative, dated.isoformat(), found.at, run)
    if not relative.yearly:
        return OwnDate(relative, dated.isoformat(), day=run)
    round_days = month_days(dated)
    return OwnDate(relative, found.on if found.on in round_days else round_days[0], day=run)


def membership(own: OwnDate, at: Callable[[datetime], str]) -> Phrase:
    """Of a member; ``at`` writes an instant on their own clock."""
    name = own.relative_to.name
    if own.at is not None:
        dated = Phrase(f"last {name} was on {at(own.at)}", f"最近一次 {name} 于 {at(own.at)}")
    else:
        dated = Phrase(f"{name} is {own.on}", f"{name} 为 {own.on}")
    away = offset_words(own.relative_to.offset)
    it = " it" if own.relative_to.offset else ""
    return Phrase(f"Their {dated.en}; this run is {away.en}{it}.", f"个人日期：{dated.zh}；本批次在{away.zh}。")


def absence(own: OwnDate, at: Callable[[datetime], str]) -> Phrase:
    """Of somebody who is in no run's audience."""
    name, away = own.relative_to.name, offset_words(own.relative_to.offset)
    only = Phrase(
        f"Its runs are each for those whose own date it is, {away.en}", f"各批次只面向个人日期相符的用户（{away.zh}）"
    )
    if not own.on:
        return Phrase(f"{only.en}: they have no {name} with a date.", f"{only.zh}：该用户没有可用的 {name} 日期。")
    if own.at is not None:
        return Phrase(
            f"{only.en}: their last {name} was on {at(own.at)}, which is for the run of {own.day}.",
            f"{only.zh}：最近一次 {name} 于 {at(own.at)}，对应 {own.day} 的批次。",
        )
    return Phrase(f"{only.en}: their {name} is {own.on}.", f"{only.zh}：其 {name} 为 {own.on}。")


def offset_words(offset: timedelta) -> Phrase:
    """How far a run is from the date."""
    days = offset.days
    if not days:
        return Phrase("on that very day", "当天")
    unit = "day" if abs(days) == 1 else "days"
    return (
        Phrase(f"{days} {unit} after", f"其后 {days} 天")
        if days > 0
        else Phrase(f"{-days} {unit} before", f"其前 {-days} 天")
    )


def run_words(own: OwnDates) -> Phrase:
    """Whom a run is for, and how many of its segment could never be."""
    kept = own.yearly and len(month_days(own.dated)) > 1
    on = f"{own.dated:%m-%d}{' (02-29)' if kept else ''}" if own.yearly else own.dated.isoformat()
    away = offset_words(timedelta(days=own.offset_days))
    said = Phrase(
        f"Of the {own.segment:,} people in the segment, it is for those whose "
        f"{f'last {own.name} was on' if own.event else f'{own.name} is'} {on}: the run is {away.en}.",
        f"人群共 {own.segment:,} 人，本批次面向其中{'最近一次 ' if own.event else ' '}{own.name} 为 {on} 者："
        f"批次在{away.zh}。",
    )
    if not own.undated:
        return said
    return Phrase(f"{said.en} {own.undated:,} have no such date.", f"{said.zh}{own.undated:,} 人没有该日期。")
