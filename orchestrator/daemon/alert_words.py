"""What alerts say, in English and Chinese. Names of ours and numbers alone: no person, address or message."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.ledger.alerts import Alert

WORDS: Mapping[str, Mapping[str, str]] = {
    "account_stopped": {
        "en": "Account {account} is stopped ({reason}): mend it, then `orchestrator accounts resume {account}`.",
        "zh": "账号 {account} 已停用（{reason}）：修复后运行 `orchestrator accounts resume {account}`。",
    },
    "storm": {
        "en": "Account {account}: too many addresses called dead at once; they are set aside for a day, not deleted.",
        "zh": "账号 {account}：短时间内大量地址被称失效；已暂停使用一天，未删除。",
    },
    "max_audience": {
        "en": "Campaign {campaign}, run of {date}: stopped, the audience is larger than max_audience.",
        "zh": "活动 {campaign} 批次 {date}：人群超过 max_audience，批次已停止。",
    },
    "unusual_size": {
        "en": "Campaign {campaign}, run of {date}: {audience} people, usually {usual}. It waits: `orchestrator confirm "
        "{campaign} --run {date}`, or it is not sent.",
        "zh": "活动 {campaign} 批次 {date}：人群 {audience}，平常为 {usual}。批次等待确认：`orchestrator confirm "
        "{campaign} --run {date}`，否则不发送。",
    },
    "plan_failed": {
        "en": "Campaign {campaign}, run of {date}: planning failed, and is tried again. The log says why.",
        "zh": "活动 {campaign} 批次 {date}：计划失败，将重试。原因见日志。",
    },
    "unknown": {
        "en": "{messages} messages by {channel} are in doubt: `orchestrator unknown reconcile`.",
        "zh": "{channel} 渠道有 {messages} 条消息结果不明：请运行 `orchestrator unknown reconcile`。",
    },
    "unsubscribes": {
        "en": "Campaign {campaign}, run of {date}: {percent}% of its messages were answered by unsubscribing.",
        "zh": "活动 {campaign} 批次 {date}：退订率 {percent}%。",
    },
    "complaints": {
        "en": "Campaign {campaign}, run of {date}: {percent}% of its messages led to complaints.",
        "zh": "活动 {campaign} 批次 {date}：投诉率 {percent}%。",
    },
    "budget": {
        "en": "Campaign {campaign}: the SMS budget is used up; what is left is skipped.",
        "zh": "活动 {campaign}：短信预算已用完，其余消息不再发送。",
    },
    "queue_stuck": {
        "en": "Account {account} ({channel}): messages have been due for {minutes} minutes and are not taken.",
        "zh": "账号 {account}（{channel}）：消息已到期 {minutes} 分钟仍未处理。",
    },
    "restored": {
        "en": "The database is older than what was sent. Nothing leaves until `orchestrator restore accept`.",
        "zh": "数据库早于已发送的内容（涉及 {runs} 个批次）：在运行 `orchestrator restore accept` 之前不会发送。",
    },
}
"""By kind of alert; what stands in braces are its facts."""


def words(one: Alert) -> dict[str, str]:
    """One sentence in each language; the bare facts for a kind that is not known here."""
    known = WORDS.get(one.kind)
    if known is None:
        facts = ", ".join(f"{name} {value}" for name, value in one.facts.items())
        return {"en": f"{one.kind}: {facts}"}
    return {locale: sentence.format_map(one.facts) for locale, sentence in known.items()}
