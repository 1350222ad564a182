"""What the report says, in English and Chinese. Words are those of the glossary."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from orchestrator.report.codes import Phrase
from orchestrator.report.findings import Finding
from orchestrator.report.values import HOLDOUT, Launched

LEVEL = "95\N{NARROW NO-BREAK SPACE}%"

WORDS: Mapping[str, Phrase] = {
    # decisions and stages
    "delivered": Phrase("delivered", "已送达"),
    "accepted": Phrase("accepted", "已受理"),
    "undelivered": Phrase("undelivered", "未送达"),
    "unknown": Phrase("unknown", "结果未知"),
    "held_out": Phrase("held out", "对照保留"),
    "pending": Phrase("still to come", "待处理"),
    "failed": Phrase("failed", "失败"),
    "expired": Phrase("expired", "已过期"),
    "skipped": Phrase("skipped", "跳过"),
    "audience": Phrase("audience", "目标人群"),
    "planned": Phrase("planned", "计划"),
    "sent": Phrase("sent", "已发送"),
    "opened": Phrase("opened", "点开"),
    "reopened": Phrase("reopened", "回访"),
    "converted": Phrase("converted", "转化"),
    "eligible": Phrase("eligible", "符合条件"),
    "clicked": Phrase("clicked", "点击"),
    "unsubscribed": Phrase("unsubscribed", "退订"),
    "complained": Phrase("complained", "投诉"),
    "members": Phrase("members", "成员"),
    "users": Phrase("users", "用户"),
    "messages": Phrase("messages", "消息"),
    "reason": Phrase("reason", "原因"),
    "decision": Phrase("decision", "决策"),
    "share": Phrase("share", "占比"),
    "rate": Phrase("reopen rate", "回访率"),
    "difference": Phrase("difference to holdout", "与对照组之差"),
    "interval": Phrase(f"{LEVEL} interval", "95% 置信区间"),
    "group": Phrase("group", "组"),
    "arm": Phrase("arm", "实验组"),
    "holdout": Phrase("holdout", "对照组"),
    "all_arms": Phrase("all arms", "全部实验组"),
    "total": Phrase("total", "合计"),
    "stage": Phrase("stage", "阶段"),
    "step": Phrase("step", "步骤"),
    "channel": Phrase("channel", "渠道"),
    "push": Phrase("push", "推送"),
    "sms": Phrase("SMS", "短信"),
    "email": Phrase("email", "邮件"),
    "inbox": Phrase("in-app inbox", "站内信"),
    "webhook": Phrase("webhook", "Webhook"),
    "human": Phrase("by people", "真人"),
    "suspect": Phrase("suspect", "存疑"),
    "machine": Phrase("by machines", "机器"),
    "limit": Phrase("limit", "上限"),
    "guard": Phrase("guardrail", "护栏"),
    "kept": Phrase("kept", "未触及"),
    "not_sure": Phrase("not sure yet", "尚难判断"),
    "crossed": Phrase("CROSSED", "已突破"),
    "value": Phrase("value", "金额"),
    "value_a_head": Phrase("a head", "人均"),
    "value_difference": Phrase("a head, to holdout", "人均与对照组之差"),
    "always_valid": Phrase("always valid", "随时有效区间"),
    "opens_by": Phrase("opened", "打开"),
    "clicks_by": Phrase("clicked", "点击"),
    "zone": Phrase("zone", "时区"),
    "hour": Phrase("hour", "时刻"),
    "runs": Phrase("runs", "批次"),
    "state": Phrase("state", "状态"),
    "planning": Phrase("planning", "规划中"),
    "active": Phrase("active", "进行中"),
    "done": Phrase("done", "已完成"),
    "stopped": Phrase("stopped", "已停止"),
    "paused": Phrase("paused", "已暂停"),
    "running": Phrase("running", "运行中"),
    "zone_nothing": Phrase("not known", "未知"),
    "zone_others": Phrase("others", "其他"),
    "window": Phrase("window", "发送时段"),
    "hours_since": Phrase("hours since the run opened for each member", "批次对每位成员开启后的小时数"),
    "local_hour": Phrase("hour of the recipient's own day", "收件人当地时刻"),
    "numbers": Phrase("The numbers", "具体数字"),
    "what": Phrase("What the words mean", "口径说明"),
    # headings of the page
    "h_lift": Phrase("Did it bring anybody back?", "真的带回了用户吗？"),
    "h_reach": Phrase("How far it reached", "触达到哪一步"),
    "h_curve": Phrase("When they came back", "他们何时回访"),
    "h_decisions": Phrase("What became of everyone", "每位成员的去向"),
    "h_hours": Phrase("At what hour it left", "在当地几点发出"),
    "h_zones": Phrase("By time zone", "按时区"),
    "h_steps": Phrase("By step and channel", "按步骤和渠道"),
    "h_runs": Phrase("The runs", "批次"),
    "h_refusals": Phrase("Did it annoy anybody?", "有没有打扰到用户？"),
    "h_value": Phrase("What it was worth", "带来了多少价值"),
    "h_channels": Phrase("By channel, and who opened", "按渠道，以及谁打开的"),
    "report": Phrase("Campaign report", "活动报告"),
    "difference_axis": Phrase("points more or fewer than the holdout", "比对照组多（少）的百分点"),
    "too_few": Phrase("not enough people to say", "人数不足，无法判断"),
    "no_holdout": Phrase("no holdout to compare with", "没有对照组可比"),
    "explored": Phrase("None yet", "暂无"),
    # sources and definitions
    "s_lift": Phrase(
        "Intention to treat: every eligible user of an arm counts, whether or not a message left, from the first run "
        f"that planned them. Rates with Wilson's {LEVEL} interval, differences with Newcombe's (thick line). Those are "
        f"of a fixed horizon: the {LEVEL} hold for one look at a moment chosen beforehand. The always-valid interval "
        "(thin line; Waudby-Smith et al. 2024) holds however often you look, and counts only members whose goal window "
        "is over. Arms are not compared with one another, and no winner is declared.",
        "意向分析（ITT）：实验组内每位符合条件的用户都计入，无论消息是否发出，以其首次被计划的批次为准。"
        "回访率用 Wilson 95% 区间，差值用 Newcombe 区间（粗线）；二者为固定时点：95% 只对事先选定时刻的一次查看成立。"
        "随时有效区间（细线，Waudby-Smith 等 2024）无论查看多少次都成立，只计入目标时限已结束的成员。"
        "各实验组之间不作比较，也不宣布胜者。",
    ),
    "s_refusals": Phrase(
        "Users who unsubscribed (STOP, unsubscribe, or took their consent to the topic back) or complained within "
        "7 days after any message of this report on that channel, of all eligible. Counted against us where in doubt: "
        "messages of other campaigns in between excuse nothing. The holdout is counted from when its message would "
        f"have left. Wilson's {LEVEL} interval; kept: all of it below the limit, crossed: all of it above.",
        "在本报告任一消息发出后 7 天内，于同一渠道退订（STOP、退订、撤回该主题授权）或投诉的用户，以符合条件者为分母。"
        "存疑时从严计入：其间有其他活动的消息也不豁免。对照组从其消息本应发出之时起算。"
        "Wilson 95% 区间；整个区间低于上限为未触及，整个高于上限为已突破。",
    ),
    "s_value": Phrase(
        "Conversion value of all eligible users of the arm, a head, those counted who spent nothing. "
        f"{LEVEL} intervals by Student and Welch, shown from 20 converted on; a few large orders make them wide, and "
        "they are of a fixed horizon.",
        "实验组全部符合条件用户的人均转化金额，未消费者也计入。95% 区间用 Student 与 Welch 方法，"
        "转化满 20 人才给出；少数大额订单会使区间变宽。固定时点。",
    ),
    "s_channels": Phrase(
        "Users are counted once a channel. Opens and clicks by the most human one of each message: by people (the "
        "app's own SDK, or nothing that speaks against it), suspect (image proxies, too quick), by machines "
        "(prefetchers, scanners). Only those by people count as opened anywhere else on this page.",
        "每个渠道内用户只计一次。每条消息按其最像真人的一次打开或点击归类：真人（应用自身 SDK，或无反面迹象）、"
        "存疑（图片代理、过快）、机器（预取、扫描）。本页其他各处的“点开”只计真人。",
    ),
    "s_reach": Phrase(
        "Users are counted once over all runs, messages once each. Accepted means that the provider took it, not that "
        "it was shown. Delivered needs proof: a receipt, or that the person opened it; push services send no receipts, "
        "so this is a lower bound. Reopened: of those accepted for, whether or not they came through the message; "
        "messages: those that had left by then.",
        "用户在所有批次中只计一次，每条消息只计一次。已受理是服务商收下，不等于已展示。已送达须有凭据：回执，或用户点开；"
        "推送服务不提供回执，因此是下限。回访：在已受理的用户中统计，不论是否经由消息进入；消息数只计回访之前已发出的。",
    ),
    "s_curve": Phrase(
        "First exposures; members whose run has not been open so long yet leave the count at that hour (Kaplan–Meier).",
        "以首次曝光计；批次开启时间尚不足的成员，在相应时刻起不再计入（Kaplan–Meier 估计）。",
    ),
    "s_decisions": Phrase(
        "One row of the ledger for every member of every run; each is in exactly one bar.",
        "账本中每个批次的每位成员一行，每位只归入一类。",
    ),
    "s_zones": Phrase(
        "Members over all runs. Reopen rate: of those planned and not held out; a bare count where they are under 50.",
        "所有批次的成员。回访率以已计划且未保留为对照者为分母；不足 50 人只列人数。",
    ),
}

STAGE_MEANING: Mapping[str, Phrase] = {
    "audience": Phrase("whom the segment selected, before any exclusion", "人群规则选出的用户，排除之前"),
    "planned": Phrase("decided to send to, the holdout included", "决定发送的用户，含对照组"),
    "sent": Phrase("at least one request to a provider was begun", "至少向服务商发起过一次请求"),
    "accepted": Phrase("the provider took the message", "服务商已收下消息"),
    "delivered": Phrase("proven by a receipt or by an open", "有回执或点开为证"),
    "opened": Phrase("the app was opened from the message", "从消息点开应用"),
    "reopened": Phrase("opened the app within the goal window", "在目标时限内打开应用"),
    "converted": Phrase("did what the campaign's conversion asks for", "完成活动设定的转化"),
}


def word(key: str, locale: str) -> str:
    """The word for a key; what has none (an arm's or zone's name) is said as it is."""
    phrase = WORDS.get(key)
    return phrase.in_(locale) if phrase else key


def per_cent(share: float) -> str:
    """``12.3 %``, with a thin space that does not break."""
    return f"{share * 100:.1f}\N{NARROW NO-BREAK SPACE}%"


def interval(low: float, high: float) -> str:
    """``12.1–14.0 %``; small shares with a digit more."""
    digits = 1 if high * 100 >= 1 else 2
    return f"{low * 100:.{digits}f}–{high * 100:.{digits}f}\N{NARROW NO-BREAK SPACE}%"


def money(value: float) -> str:
    """``1,234.50`` or ``−0.12``: the campaign does not say in which currency."""
    return f"{value:,.2f}".replace("-", "−")


def points(share: float) -> str:
    """``+4.1`` or ``−1.2``: percentage points, with a proper minus."""
    return f"{share * 100:+.1f}".replace("-", "−")


def number(value: float) -> str:
    """``1,200``."""
    return f"{value:,.0f}"


def span_words(span: timedelta | None, locale: str) -> str:
    """``24 h`` or ``3 days``; nothing for no span."""
    if span is None:
        return ""
    hours = span / timedelta(hours=1)
    if hours % 24 == 0 and hours > 24:  # noqa: PLR2004  # hours of a day
        return Phrase(f"{hours / 24:g} days", f"{hours / 24:g} 天").in_(locale)
    return Phrase(f"{hours:g} h", f"{hours:g} 小时").in_(locale)


def zone_words(key: str, locale: str) -> str:
    """A zone key for people."""
    if not key:
        return word("zone_nothing", locale)
    if key.startswith("country:"):
        country = key.removeprefix("country:")
        return Phrase(f"{country}, zone not known", f"{country}（时区未知）").in_(locale)
    return key.replace("_", " ")


def title(launched: Launched, locale: str) -> str:
    """The campaign's title in the nearest locale it has, else its name; with the date, if it is of one run."""
    language = locale.partition("-")[0]
    said = launched.title.get(locale) or launched.title.get(language) or launched.title.get("en") or launched.name
    return f"{said}, {launched.local_date}" if launched.local_date else said


def group_name(finding: Finding, locale: str) -> str:
    """An arm's name, the holdout's, or all arms together."""
    if finding.group.held_out:
        return word(HOLDOUT, locale)
    return finding.group.name or word("all_arms", locale)
