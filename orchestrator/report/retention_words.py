"""What the retention report says, in English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

from orchestrator.report.codes import Phrase
from orchestrator.report.retention import MONTH, Cohort, DayCount, Retention
from orchestrator.report.words import per_cent

SCARCE = 50
"""With fewer people than this in a cohort, a rate is drawn pale: it is mostly chance."""

WORDS: Mapping[str, Phrase] = {
    "report": Phrase("Retention report", "留存报告"),
    "title": Phrase("Who stays", "谁留了下来"),
    "active": Phrase("daily active", "日活 DAU"),
    "weekly": Phrase("weekly active", "周活 WAU"),
    "monthly": Phrase("monthly active", "月活 MAU"),
    "new": Phrase("first seen", "首次出现"),
    "stickiness": Phrase("stickiness", "粘性"),
    "churn": Phrase("churn", "流失率"),
    "churned": Phrase("churned", "已流失"),
    "users": Phrase("users", "用户"),
    "day": Phrase("day", "日期"),
    "cohort": Phrase("first seen in the week from", "首次出现于该周"),
    "size": Phrase("users", "用户"),
    "after": Phrase("weeks after each user's own first day", "距各自首日的周数"),
    "week_after": Phrase("week {0}", "第 {0} 周"),
    "day_after": Phrase("day {0}", "第 {0} 日"),
    "share_active": Phrase("share active", "活跃占比"),
    "h_active": Phrase("How many are active", "有多少人活跃"),
    "h_back": Phrase("Who is back after 1, 7 and 30 days", "次日、7 日、30 日留存"),
    "h_churn": Phrase("How many fall silent", "有多少人流失"),
    "h_heat": Phrase("Cohort by cohort", "逐批次留存热图"),
    "nothing": Phrase("Nothing to draw yet: it takes more days, or more users.", "暂无可画：需要更多天数或更多用户。"),
    "numbers": Phrase("The numbers", "具体数字"),
    "rate": Phrase("rate", "留存率"),
    "interval": Phrase("95\N{NARROW NO-BREAK SPACE}% interval", "95% 置信区间"),
    "s_active": Phrase(
        "Daily: at least one event on the day. Weekly and monthly: on at least one of the 7 or 30 days that end with "
        "it; everybody counts once. Stickiness: daily of monthly active.",
        "日活：当日至少一次事件。周活、月活：截至当日的 7 天或 30 天内至少一天活跃，每人只计一次。"
        "粘性：日活占月活之比。",
    ),
    "s_back": Phrase(
        "By the week in which users were first seen: the share active on exactly that day after their own first day. "
        "Only those whose day is over count; cohorts of fewer than 50 are left out of the lines. All together with "
        "Wilson's 95\N{NARROW NO-BREAK SPACE}% interval.",
        "按首次出现的周：恰在其首日之后第 N 日活跃的占比。只计该日已结束者；不足 50 人的批次不画入折线。"
        "合计给出 Wilson 95% 区间。",
    ),
    "s_churn": Phrase(
        "Of those active in the 30 days before the last 30: the share with no event in the last 30.",
        "在此前第 31 至 60 天内活跃的用户中，最近 30 天没有任何事件的占比。",
    ),
    "s_heat": Phrase(
        "A row is everybody first seen in one week, a column a week of their own since their first day; the colour is "
        "the share active in it at least once. Weeks that are not over for all of the row are left empty.",
        "一行是同一周首次出现的用户，一列是距各自首日的第几周；颜色为该周内至少活跃一次的占比。"
        "尚未对整行用户结束的周留空。",
    ),
}


def word(key: str, locale: str) -> str:
    """The word for a key."""
    return WORDS[key].in_(locale)


def counted(key: str, number: int, locale: str) -> str:
    """``day 7`` or ``第 7 日``."""
    return word(key, locale).format(number)


def headline(found: Retention, locale: str) -> str:
    """What the page stands for: who is back of the new, and how many fall silent."""
    lost = churn(found.last)
    back = {after: rate for after, rate in found.back.items() if rate.people}
    en = [f"{per_cent(rate.rate)} {_AFTER[after].en}" for after, rate in back.items()]
    zh = [f"{_AFTER[after].zh} {per_cent(rate.rate)}" for after, rate in back.items()]
    silent = Phrase("", "")
    if lost is not None:
        silent = Phrase(
            f" Of those active a month earlier, {per_cent(lost)} have fallen silent.",
            f"此前一个月活跃的用户中，{per_cent(lost)} 已流失。",
        )
    if not back:
        en, zh = ["nobody can be judged yet"], ["尚无可判断者"]
    return Phrase(
        f"Of new users, {_and(en)}.{silent.en}",
        f"新用户中，{'，'.join(zh)}。{silent.zh}",
    ).in_(locale)


_AFTER = {
    1: Phrase("come back the next day", "次日回来"),
    7: Phrase("on day 7", "第 7 日回来"),
    30: Phrase("on day 30", "第 30 日回来"),
}


def _and(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]


def churn(day: DayCount) -> float | None:
    """The churn rate of a day; None when nobody was active before."""
    return day.churned / day.before if day.before else None


def stickiness(day: DayCount) -> float | None:
    """Daily of monthly active."""
    return day.active / day.monthly if day.monthly else None


def share_of(cohort: Cohort, after: int) -> float | None:
    """Day-N retention of one cohort; None while nobody's day is over."""
    there, people = cohort.back[after]
    return there / people if people else None


def caveats(found: Retention, locale: str) -> list[str]:
    """What a careful reader has to know."""
    said = []
    if found.since < found.recorded + timedelta(days=MONTH):
        said.append(
            Phrase(
                f"Records begin on {found.recorded}: whoever was a user before looks new in the first weeks, and "
                "monthly figures are low for the first 30 days.",
                f"记录始于 {found.recorded}：此前的老用户在最初几周会显得是新用户，头 30 天的月活偏低。",
            )
        )
    return [phrase.in_(locale) for phrase in said]


def source(found: Retention, locale: str) -> str:
    """Where the numbers come from."""
    last = found.until - timedelta(days=1)
    stamp = found.as_of.strftime("%Y-%m-%d %H:%M")
    return Phrase(
        f"Source: events called {found.event} in the ledger as of {stamp} UTC; whole days in {found.zone}, "
        f"{found.since} to {last}. First seen: the first such event there is.",
        f"数据来自账本中名为 {found.event} 的事件，截至 {stamp} UTC；"
        f"按 {found.zone} 的整日计，{found.since} 至 {last}。首次出现：账本中最早的一次该事件。",
    ).in_(locale)


def short(day: date, locale: str) -> str:
    """``3 Mar`` or ``3月3日``."""
    return Phrase(f"{day.day} {day:%b}", f"{day.month}月{day.day}日").in_(locale)
