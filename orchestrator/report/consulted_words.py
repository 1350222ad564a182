"""The rules of a message in words, English and Chinese."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from orchestrator.report import words
from orchestrator.report.codes import Phrase
from orchestrator.report.consulted import DROPS, ENDED, HOLDS, PASSES, RulesStory, RuleStory
from orchestrator.report.hours import zone_of
from orchestrator.report.reasons import reason_words

RULES: Mapping[str, Phrase] = {
    "window": Phrase("window", "发送时段"),
    "quiet_hours": Phrase("quiet hours", "免打扰时段"),
    "receipt": Phrase("receipt of an earlier attempt", "此前尝试的回执"),
    "only_to": Phrase("allow-list of the deployment", "部署白名单"),
    "stopped": Phrase("campaign stopped", "活动停止"),
    "paused": Phrase("campaign paused", "活动暂停"),
    "excluded": Phrase("excluded segments", "排除人群"),
    "suppressed": Phrase("suppression", "禁发名单"),
    "no_consent": Phrase("consent", "用户授权"),
    "no_address": Phrase("usable address", "可用地址"),
    "no_account": Phrase("account that takes the address", "可发送的账号"),
    "next_address": Phrase("planned address still in use", "计划地址仍可用"),
    "needless": Phrase("nothing since that makes it needless", "触发后未发生取消事件"),
    "came_back": Phrase("came back meanwhile", "期间回访"),
    "converted": Phrase("converted since the run opened", "批次开启后转化"),
    "not": Phrase("only unless this has happened", "仅当未发生"),
    "step_before": Phrase("step before", "上一步骤"),
    "is": Phrase("only if this has happened", "仅当已发生"),
    "wait_for": Phrase("waits for this", "等待发生"),
    "late": Phrase("deadline", "截止时间"),
    "no_longer_in_segment": Phrase("segment, asked again", "人群复核"),
    "capped": Phrase("cap", "频次上限"),
    "backoff": Phrase("back-off for who does not answer", "无回应退避"),
    "quota": Phrase("the maker's quota of a day", "厂商每日上限"),
    "budget": Phrase("SMS budget", "短信预算"),
}
_VERDICTS = {
    PASSES: Phrase("passes", "通过"),
    HOLDS: Phrase("holds", "暂缓"),
    DROPS: Phrase("does not let it leave", "不予发送"),
}


def tell_rules(stories: list[RulesStory], locale: str) -> Iterator[str]:
    """A line for each message and, below it, for each rule."""
    for story in stories:
        yield ""
        yield _heading(story).in_(locale)
        yield from (f"  {_rule(rule, story.zone_key).in_(locale)}" for rule in story.rules)


def _heading(story: RulesStory) -> Phrase:
    at = f"{_at(story.at, story.zone_key)}{'' if zone_of(story.zone_key) else ' UTC'}"
    how = Phrase("as it was at", "截至（已结束）") if story.over else Phrase("as of", "截至")
    if story.message_id is None:
        return Phrase(f"Rules of joining, {how.en} {at}:", f"进入规则，{how.zh} {at}：")
    channel = Phrase(words.word(story.channel, "en"), words.word(story.channel, "zh"))
    return Phrase(
        f"Rules of step {story.step} ({channel.en}) of the run of {story.local_date}, {how.en} {at}:",
        f"{story.local_date} 批次步骤 {story.step}（{channel.zh}）的规则，{how.zh} {at}：",
    )


def _rule(rule: RuleStory, zone_key: str) -> Phrase:
    head, _, which = rule.rule.partition(":")
    if head == ENDED:
        return Phrase(*(_ended(which, locale) for locale in ("en", "zh")))
    name, said = RULES[head], _VERDICTS[rule.verdict]
    until = _at(rule.until, zone_key) if rule.until else ""
    en = f"{name.en}{f' ({which})' if which else ''}: {said.en}{f' until {until}' if until else ''}"
    zh = f"{name.zh}{f'（{which}）' if which else ''}：{said.zh}{f'，至 {until}' if until else ''}"
    used = f" [{rule.figures}]" if rule.figures else ""
    return Phrase(f"{en}{used}", f"{zh}{used}")


def _ended(reason: str, locale: str) -> str:
    """``it was dropped: nobody opened an earlier message of the run in time``."""
    return Phrase("it was dropped: ", "不予发送：").in_(locale) + reason_words(reason, locale)


def _at(instant: datetime, zone_key: str) -> str:
    return f"{instant.astimezone(zone_of(zone_key) or UTC):%Y-%m-%d %H:%M:%S}"
