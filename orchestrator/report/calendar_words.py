"""What the calendar says, in English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime

from orchestrator.report.calendar_values import Calendar, Conflict, Entry, Fire, Volume
from orchestrator.report.codes import Phrase
from orchestrator.report.words import number, per_cent

WORDS: Mapping[str, Phrase] = {
    "report": Phrase("Calendar", "日历"),
    "title": Phrase("What fires when", "活动日历"),
    "day": Phrase("date", "日期"),
    "campaign": Phrase("campaign", "活动"),
    "window": Phrase("local window", "当地时段"),
    "utc": Phrase("first to last, UTC", "首尾时区（UTC）"),
    "zones": Phrase("zones", "时区数"),
    "audience": Phrase("audience", "目标人群"),
    "messages": Phrase("messages", "消息"),
    "state": Phrase("state", "状态"),
    "priority": Phrase("priority", "优先级"),
    "running": Phrase("launched", "已启动"),
    "paused": Phrase("paused", "已暂停"),
    "file": Phrase("not launched", "未启动"),
    "edited": Phrase("edited since", "启动后已修改"),
    "at_most": Phrase(
        "≤: no run yet; the segment as it is now, from which consent, addresses and caps still take away.",
        "≤：尚无批次；为当前人群数，尚未扣除授权、地址和频次上限。",
    ),
    "by_events": Phrase(
        "~: of a triggered campaign, what the events of the last seven days would have come to, as the mean of a day.",
        "~：触发式活动；按最近 7 天的事件推算的日均值。",
    ),
    "nowhere": Phrase("shut that day", "当日无时段"),
    "h_days": Phrase("Day by day", "逐日"),
    "h_conflicts": Phrase("Who eats whose cap", "频次上限冲突"),
    "h_holidays": Phrase("Holidays where members live", "成员所在地的公共假日"),
    "h_picture": Phrase("At a glance", "一览"),
    "s_picture": Phrase(
        "Each bar runs from the opening of the window in the first zone of the audience to its end in the last, in "
        "UTC: one local date takes up to two days to go around the world. Pale: not launched, or paused.",
        "每条从受众首个时区的时段开始到最后一个时区的时段结束（UTC）：一个当地日期绕地球一圈最多需要两天。浅色：未启动或已暂停。",
    ),
    "s_days": Phrase(
        "Volumes are those of the latest runs; where there is none, the segment as it is now, from which consent, "
        "addresses and caps still take away (≤). Of triggered campaigns: the mean of a day by the events of the last "
        "seven (~).",
        "数量取自最近批次；没有批次时为当前人群数，尚未扣除授权、地址和频次上限（≤）；"
        "触发式活动按最近 7 天的事件推算日均值（~）。",
    ),
    "s_conflicts": Phrase(
        "Same date, overlapping audiences, and a cap with less room than both want: who has the higher priority "
        "reserves first, the other's messages wait or are skipped (capped). Overlap estimated from a stable sample of "
        "users.",
        "同一日期、受众重叠、且频次上限不足以容纳两者：优先级高者先占用，另一方等待或被跳过（已达上限）。重叠按固定用户样本估算。",
    ),
    "none": Phrase("Nothing fires in these days.", "这些日期没有活动。"),
    "no_conflicts": Phrase("No two campaigns eat each other's cap.", "没有活动互相占用频次上限。"),
}
_DAYS = (("Mon", "一"), ("Tue", "二"), ("Wed", "三"), ("Thu", "四"), ("Fri", "五"), ("Sat", "六"), ("Sun", "日"))


def word(key: str, locale: str) -> str:
    """A word of the calendar."""
    return WORDS[key].in_(locale)


def day_words(day: date, locale: str) -> str:
    """``Tue 12-01``."""
    english, chinese = _DAYS[day.weekday()]
    return f"{day:%m-%d} 周{chinese}" if locale.startswith("zh") else f"{english} {day:%m-%d}"


def title_of(entry: Entry, locale: str) -> str:
    """What people call a campaign."""
    return entry.title.get(locale) or entry.title.get(locale.partition("-")[0]) or entry.name


def state_words(entry: Entry, locale: str) -> str:
    """How it is, and whether its file has been edited since."""
    more = f", {word('edited', locale)}" if entry.edited else ""
    return word(entry.source, locale) + (more.replace(", ", "，") if locale.startswith("zh") else more)


def messages_words(volume: Volume) -> str:
    """``724``; ``≤ 724`` where no run has shown what is left of a segment; ``~ 724`` by the events of a week."""
    if volume.events:
        return f"~ {number(volume.messages)}"
    return number(volume.messages) if volume.runs else f"≤ {number(volume.messages)}"


def windows_words(fire: Fire, entry: Entry, locale: str) -> list[str]:
    """The windows, and before them the instant from which they count, or the event that triggers it, if it is one."""
    if entry.trigger:
        return [Phrase(f"on {entry.trigger}", f"由 {entry.trigger} 触发").in_(locale), *entry.windows]
    return [Phrase(f"at {fire.at}", fire.at).in_(locale), *entry.windows] if fire.at else list(entry.windows)


def span_words(fire: Fire, locale: str) -> str:
    """``11-30 20:30 – 12-01 23:45``: dates where they are not the local one."""
    if fire.opens is None or fire.closes is None:
        return word("nowhere", locale)
    return f"{_instant(fire.opens, fire.day)} – {_instant(fire.closes, fire.day)}"


def _instant(at: datetime, day: date) -> str:
    return f"{at:%H:%M}" if at.date() == day else f"{at:%m-%d %H:%M}"


def conflict_words(one: Conflict, locale: str) -> str:
    """A conflict as a sentence."""
    days = ", ".join(day_words(day, locale) for day in one.days[:4])
    more = len(one.days) - 4
    shared, rules = number(one.users), ", ".join(one.rules)
    rest = f" +{more}" if more > 0 else ""
    return Phrase(
        f"{one.first} goes before {one.second} on {days}{rest}: about {shared} people are in both "
        f"({per_cent(one.share)} of the smaller), under the cap {rules}",
        f"{days}{rest}：{one.first} 先于 {one.second}；约 {shared} 人同属两者（占较小人群 {per_cent(one.share)}），"
        f"受同一上限约束：{rules}",
    ).in_(locale)


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def headline(found: Calendar, locale: str) -> str:
    """The calendar in one sentence."""
    live = sum(entry.source == "running" for entry in found.entries)
    days = f"{found.since} – {found.until}"
    return Phrase(
        f"{_many(len(found.fires), 'firing')} of {_many(len(found.entries), 'campaign')} ({live} launched)"
        f" on the local dates {days}.",
        f"{days}（当地日期）：{len(found.entries)} 个活动（已启动 {live} 个），共触发 {len(found.fires)} 次。",
    ).in_(locale)
