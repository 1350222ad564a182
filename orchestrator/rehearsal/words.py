"""What a rehearsal says, in English and Chinese. Words are those of the glossary."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta

from orchestrator.rehearsal.values import Caution, Rehearsed
from orchestrator.report.codes import Phrase
from orchestrator.report.reasons import reason_words
from orchestrator.report.words import number, per_cent, zone_words
from orchestrator.report.words import word as report_word

WORDS: Mapping[str, Phrase] = {
    "rehearsal": Phrase("Rehearsal", "预演"),
    "h_cautions": Phrase("Before you launch", "上线前请留意"),
    "h_when": Phrase("When it would go out", "何时发出"),
    "h_zones": Phrase("By the recipients' own clocks", "按收件人当地时刻"),
    "h_decisions": Phrase("What would become of everyone", "每位成员的去向"),
    "h_whys": Phrase("What would wait, and what would never leave", "哪些会等待，哪些不会发出"),
    "h_loads": Phrase("How busy the accounts would be", "各账号的负载"),
    "h_steps": Phrase("By step", "按步骤"),
    "h_sms": Phrase("What the SMS would come to", "短信用量"),
    "h_neighbours": Phrase("The other campaigns meanwhile", "同期的其他活动"),
    "h_runs": Phrase("The runs", "批次"),
    "h_assumptions": Phrase("What was assumed", "预演的假设"),
    "messages": Phrase("messages", "消息"),
    "members": Phrase("members", "成员"),
    "people": Phrase("people reached", "触达人数"),
    "became": Phrase("what happens", "结果"),
    "held": Phrase("waits", "等待"),
    "day": Phrase("day (UTC)", "日期（UTC）"),
    "date": Phrase("local date", "当地日期"),
    "state": Phrase("state", "状态"),
    "parts": Phrase("parts", "计费条数"),
    "cost": Phrase("cost", "费用"),
    "account": Phrase("account", "账号"),
    "limit": Phrase("limit", "每分钟上限"),
    "busiest": Phrase("busiest minute", "最忙一分钟"),
    "ours": Phrase("ours", "本活动"),
    "waited": Phrase("waits > 5 min", "等待超过 5 分钟"),
    "longest": Phrase("longest wait", "最长等待"),
    "campaign": Phrase("campaign", "活动"),
    "capped": Phrase("kept back by caps", "因频次上限未发"),
    "after_ours": Phrase("after one of ours", "因本活动先发"),
    "rate": Phrase("share", "比例"),
    "answer": Phrase("answer", "反应"),
    "source": Phrase("from", "来源"),
    "history": Phrase("the last 90 days", "近 90 天数据"),
    "file": Phrase("your file", "指定文件"),
    "assumed": Phrase("an assumption: no history", "假设：历史不足"),
    "rate_delivered": Phrase("delivered", "送达"),
    "rate_opened": Phrase("opened", "打开"),
    "rate_clicked": Phrase("clicked", "点击"),
    "rate_reopened": Phrase("come back because of it", "因消息回访"),
    "rate_converted": Phrase("of those back: converted", "回访者中转化"),
    "rate_unsubscribed": Phrase("unsubscribe", "退订"),
    "rate_dead": Phrase("address found dead", "地址失效"),
    "rate_failed": Phrase("refused by the provider", "服务商拒绝"),
    "rate_by_themselves": Phrase("come back by themselves", "自行回访"),
    "total": Phrase("total", "合计"),
    "per_hour": Phrase("messages an hour", "每小时消息数"),
    "local_hour": Phrase("hour of the recipient's own day", "收件人当地时刻"),
    "utc": Phrase("UTC", "UTC"),
    "none": Phrase("nothing", "无"),
    "no_cautions": Phrase("Nothing to warn of.", "没有需要提醒的事项。"),
    "s_when": Phrase(
        "Each bar is one hour of UTC; colours are steps' channels. First tries and retries alike.",
        "每根柱为一小时（UTC），颜色区分渠道；重试计入其最后一次。",
    ),
    "s_zones": Phrase(
        "Messages by the recipient's own clock, all days together. Where only a country is known, one of its zones.",
        "按收件人当地时间统计，各日合计。只知国家时取其中一个时区。",
    ),
    "s_decisions": Phrase(
        "One row of the rehearsed ledger for every member of every run; each is in exactly one bar. Still to come: its "
        "time lies after the end of the rehearsal.",
        "预演账本中每个批次的每位成员一行，每位只归入一类。待处理：发送时刻在预演结束之后。",
    ),
    "s_whys": Phrase(
        "Messages. One that waits may leave later; members who were never owed a message are in the picture above.",
        "以消息计。等待的消息之后仍可能发出；一开始就不发送的成员见上图。",
    ),
    "s_loads": Phrase(
        "Everything that goes through the account, of all running campaigns: the busiest minute of each hour. The "
        "dashed line is the account's rate.",
        "经过该账号的全部消息（含其他运行中的活动）：每小时中最忙的一分钟。虚线为账号速率。",
    ),
    "s_neighbours": Phrase(
        "Kept back after one of ours: the member had had a message of this campaign in the seven days before.",
        "因本活动先发：该成员在此前 7 天内收到过本活动的消息。",
    ),
    "s_assumptions": Phrase(
        "The answers of people and providers are drawn by these shares, the same for the same seed. They decide who "
        "gets a follow-up, and nothing else of the plan.",
        "用户与服务商的反应按以下比例抽取，同一种子结果相同；只影响后续步骤发给谁，不影响其余安排。",
    ),
}

CAUTIONS: Mapping[str, Phrase] = {
    "no_runs": Phrase("No run opens in this time: see the schedule.", "这段时间内没有批次开启：请检查日程。"),
    "nobody": Phrase("The segment selects nobody.", "人群规则没有选中任何人。"),
    "nothing": Phrase("Nothing would leave at all.", "不会发出任何消息。"),
    "run_stopped": Phrase("The run of {date} would not start: {reason}.", "{date} 的批次不会启动：{reason}。"),
    "run_waits": Phrase(
        "The run of {date} is unusually large: it waits until somebody confirms it, and is not sent otherwise.",
        "{date} 的批次人数异常：等待确认，未确认则不发送。",
    ),
    "stopped": Phrase(
        "Account {account} is stopped ({reason}): nothing goes through it until an operator resumes it.",
        "账号 {account} 已停用（{reason}）：恢复之前不会经它发送。",
    ),
    "stops": Phrase(
        "Account {account} would be stopped on the way ({reason}).", "账号 {account} 会在途中被停用（{reason}）。"
    ),
    "budget": Phrase(
        "The SMS budget would be used up on day {day} ({at}): {messages} SMS would not be sent.",
        "短信预算将在第 {day} 天（{at}）用完：{messages} 条短信不会发出。",
    ),
    "budget_sample": Phrase(
        "The SMS budget of {most} would not do: about {messages} are needed.",
        "短信预算 {most} 不够：约需 {messages}。",
    ),
    "late": Phrase(
        "{messages} messages would not leave before their window closes.", "{messages} 条消息在时段结束前发不完。"
    ),
    "unrendered": Phrase("{messages} messages would not be sent: {reason}.", "{messages} 条消息不会发出：{reason}。"),
    "capped": Phrase(
        "Caps would keep back {messages} messages ({share} of those owed).",
        "频次上限将拦下 {messages} 条消息（占应发的 {share}）。",
    ),
    "slow": Phrase(
        "Account {account} is too slow for what falls due at once: at {limit} a minute, {messages} messages would wait "
        "for more than five minutes, the longest {longest}.",
        "账号 {account} 对同时到期的消息来说太慢：每分钟 {limit} 条时，{messages} 条要等待五分钟以上，最长 {longest}。",
    ),
    "played_again": Phrase(
        "What triggers the campaign is the past played again: {events} events of {names} of the last {days} days, "
        "each happening once more as many days later.",
        "触发事件为过去的重演：最近 {days} 天的 {events} 个事件（{names}），各推后同样天数再次发生。",
    ),
    "asked_again": Phrase(
        "Later steps ask about {names}: the past {days} days played again, each event as many days later, whatever "
        "anybody is sent.",
        "后续步骤询问 {names}：重演过去 {days} 天的事件，各推后同样天数，与发送内容无关。",
    ),
    "nothing_to_play": Phrase(
        "Nothing would trigger the campaign: there was no event of {names} in the last {days} days to play again.",
        "没有可触发活动的事件：最近 {days} 天没有 {names} 可供重演。",
    ),
    "nowhere": Phrase(
        "{members} members would get nothing: {reason} ({zones}).", "{members} 位成员不会收到：{reason}（{zones}）。"
    ),
}


def word(key: str, locale: str) -> str:
    """The word for a key: of the rehearsal, else the report's."""
    phrase = WORDS.get(key)
    return phrase.in_(locale) if phrase else report_word(key, locale)


def caution(item: Caution, locale: str) -> str:
    """A caution in words."""
    facts = {name: _fact(name, value, locale) for name, value in item.facts.items()}
    if more := item.facts.get("more"):
        facts["zones"] += Phrase(f" and {more} zones more", f" 等 {more} 个其他时区").in_(locale)
    return CAUTIONS[item.key].in_(locale).format(**facts)


def _fact(name: str, value: object, locale: str) -> str:
    match value:
        case str() if name == "reason":
            return reason_words(value, locale)
        case float() if name == "share":
            return per_cent(value)
        case datetime():
            return f"{value:%Y-%m-%d %H:%M} UTC"
        case timedelta():
            return wait(value, locale)
        case tuple():
            return ("、" if locale == "zh" else ", ").join(zone_words(str(zone), locale) for zone in value)
        case _:
            return number(value) if isinstance(value, int | float) else str(value)


def wait(span: timedelta, locale: str) -> str:
    """``12 s``, ``35 min`` or ``2.5 h``."""
    seconds = span.total_seconds()
    if seconds < 60:  # noqa: PLR2004  # a minute
        return Phrase(f"{seconds:.0f} s", f"{seconds:.0f} 秒").in_(locale)
    if seconds < 5400:  # noqa: PLR2004  # an hour and a half
        return Phrase(f"{seconds / 60:.0f} min", f"{seconds / 60:.0f} 分钟").in_(locale)
    return Phrase(f"{seconds / 3600:.1f} h", f"{seconds / 3600:.1f} 小时").in_(locale)


def day_words(day: date | datetime, locale: str) -> str:
    """``Mon 7 Dec``."""
    weekday = "一二三四五六日"[day.weekday()]
    return Phrase(f"{day:%a} {day.day} {day:%b}", f"{day.month}月{day.day}日 周{weekday}").in_(locale)


def headline(found: Rehearsed, locale: str) -> str:
    """What would happen, in a sentence."""
    stages = {stage.name: stage.users for stage in found.tally.stages}
    sent, people = number(found.sent), number(stages.get("sent", 0))
    begin, end = day_words(found.since, locale), day_words(found.until, locale)
    audience = number(stages.get("audience", 0))
    return Phrase(
        f"From {begin} to {end}, {sent} messages would go to {people} of {audience} people.",
        f"{begin}至{end}，将向 {audience} 人中的 {people} 人发出 {sent} 条消息。",
    ).in_(locale)


def basis(found: Rehearsed, locale: str) -> str:
    """On whom it was played, and how long that took."""
    took, users = f"{found.took:.0f}", number(found.users)
    if found.share < 1:
        part = per_cent(found.share)
        return Phrase(
            f"Played with a stable sample of {part} of {users} users in {took} s; counts are made those of everybody, "
            "and rates were as much smaller.",
            f"以 {users} 位用户中固定的 {part} 抽样预演，用时 {took} 秒；数字已折算为全部用户，速率按同比缩小。",
        ).in_(locale)
    return Phrase(
        f"Played with all {users} users in {took} s. Nothing was sent, and nothing of it is kept.",
        f"以全部 {users} 位用户预演，用时 {took} 秒。没有发送任何消息，也不保留任何数据。",
    ).in_(locale)
