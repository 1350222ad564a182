"""A member's story in sentences, English and Chinese."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from zoneinfo import ZoneInfo

from orchestrator.channel.base import OutcomeClass
from orchestrator.ledger.states import State
from orchestrator.plan.awaken import WOKEN
from orchestrator.plan.best_members import EXPLORED, POPULATION
from orchestrator.report import words
from orchestrator.report.codes import RECEIPT, Phrase
from orchestrator.report.explain import (
    AttemptStory,
    ChangeStory,
    MemberStory,
    MessageStory,
    ReceiptStory,
    Story,
    TouchStory,
)
from orchestrator.report.hours import zone_of
from orchestrator.report.own_dates import absence, membership
from orchestrator.report.reasons import code_words, outcome_words, reason_words
from orchestrator.report.touches import OPENED
from orchestrator.report.triggers import joined, needless, not_joined

_WEEKDAYS = ("一", "二", "三", "四", "五", "六", "日")

_STATES = {
    State.PLANNED: Phrase("It is waiting for its turn", "正在等待发送"),
    State.CLAIMED: Phrase("A worker holds it; nothing has left yet", "已由工作进程领取，尚未发出"),
    State.SENDING: Phrase("It is being sent", "正在发送"),
    State.ACCEPTED: Phrase(
        "The provider accepted it; that is not yet proof that it was shown", "服务商已受理；尚不能证明已展示"
    ),
    State.DELIVERED: Phrase("It was delivered", "已送达"),
    State.UNDELIVERED: Phrase("The provider says that it did not arrive", "服务商称未送达"),
    State.SKIPPED: Phrase("It was not sent", "未发送"),
    State.EXPIRED: Phrase("It expired unsent", "已过期，未发送"),
    State.HELD_OUT: Phrase("It was deliberately not sent: the member is in the holdout", "有意不发送：成员属于对照组"),
    State.FAILED: Phrase("It failed and will not be tried again", "发送失败，不再重试"),
    State.UNKNOWN: Phrase("Whether it arrived is unknown; it is not sent again silently", "是否送达未知；不会自动重发"),
}

_BY = {
    "human": Phrase("by a person", "来自真人"),
    "suspect": Phrase("perhaps not by a person: it does not count", "可能并非真人，不计入"),
    "machine": Phrase("by a machine: it does not count", "来自机器，不计入"),
}


def tell(story: Story, locale: str = "en", providers: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """The story, a sentence a line; lines about a message begin with two spaces.

    ``providers``: account → provider, whose codes they are; codes of other accounts are told where no other has them.
    """
    name = words.title(story.launched, locale)
    if not story.members:
        own = [] if story.own_date is None else [absence(story.own_date, _in_utc).in_(locale)]
        none = [] if story.forgotten and not story.runs else [_not_in(story).in_(locale)]
        return [*none, *own, *_forgotten(story, locale)]
    heading = Phrase(
        f"User {story.user} in {name} ({story.launched.name})", f"用户 {story.user} · {name}（{story.launched.name}）"
    )
    lines = [heading.in_(locale)]
    for member in story.members:
        lines.append("")
        lines += _Teller(story, member, locale, providers).lines()
    return [*lines, *_forgotten(story, locale)]


def _forgotten(story: Story, locale: str) -> list[str]:
    """What is not said of somebody because it is not known any more."""
    if not story.forgotten:
        return []
    user, name, n = story.user, story.launched.name, story.forgotten
    told = Phrase(
        f"Runs of {name} older than keep_messages: {n}. Whether {user} was in them is not known any more.",
        f"另有 {n} 个 {name} 的批次早于 keep_messages，已不再知道 {user} 是否在其中。",
    )
    return [told.in_(locale)]


def _not_in(story: Story) -> Phrase:
    user, name, segment = story.user, story.launched.name, story.launched.segment
    if (trigger := story.launched.trigger) is not None:
        if story.forestalled is not None:
            return needless(story.forestalled, user, name, trigger)
        return not_joined(user, name, segment, trigger, story.waits_until)
    if not story.runs:
        return Phrase(
            f"{user} was not in the audience of {name}: the campaign has had no run yet.",
            f"{user} 不在 {name} 的目标人群中：该活动还没有批次。",
        )
    last, count = story.runs[-1], len(story.runs)
    when = f"{last.as_of:%Y-%m-%d %H:%M} UTC"
    chose = (
        f"did not select them for its run of {last.local_date} (as of {when})"
        if count == 1
        else f"selected them for none of its {count} runs (the last is that of {last.local_date}, as of {when})"
    )
    return Phrase(
        f"{user} was not in the audience of {name}: segment {segment} {chose}.",
        f"{user} 不在 {name} 的目标人群中：共 {count} 个批次，最近一次为 {last.local_date}（截至 {when}），"
        f"人群 {segment} 均未选中该用户。",
    )


def _in_utc(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


class _Teller:
    """Tells one member's part; holds what every sentence needs: the locale and the member's clock."""

    def __init__(self, story: Story, member: MemberStory, locale: str, providers: Mapping[str, str]) -> None:
        self.story, self.member, self.locale, self.providers = story, member, locale, providers
        self.zone = zone_of(member.zone_key)

    def lines(self) -> list[str]:
        """The member's part: how they came in, what was decided, each step, what they did."""
        phrases = [self._audience(), *self._own_date(), self._arm(), self._decision()]
        lines = [phrase.in_(self.locale) for phrase in phrases]
        for message in self.member.messages:
            lines += self._message(message)
        lines += [self._operator(change).in_(self.locale) for change in self.member.operators]
        return lines + [phrase.in_(self.locale) for phrase in self._response()]

    def at(self, instant: datetime) -> str:
        """An instant on the member's own clock; in UTC when their zone is not known exactly."""
        local = instant.astimezone(self.zone or ZoneInfo("UTC"))
        name = "" if self.zone else " UTC"
        if self.locale.lower().startswith("zh"):
            return f"{local.month}月{local.day}日周{_WEEKDAYS[local.weekday()]} {local:%H:%M:%S}{name}"
        return f"{local:%a %-d %b %H:%M:%S}{name}"

    def _audience(self) -> Phrase:
        day, segment = self.member.local_date, self.story.launched.segment
        when = f"{self.member.as_of.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        zone = words.zone_words(self.member.zone_key, "en"), words.zone_words(self.member.zone_key, "zh")
        return Phrase(
            f"Run of {day}: found in the audience (segment {segment}) as of {when}. Time zone: {zone[0]}.",
            f"{day} 批次：截至 {when}，在目标人群 {segment} 中。时区：{zone[1]}。",
        )

    def _own_date(self) -> Iterator[Phrase]:
        if self.member.own_date is not None:
            yield membership(self.member.own_date, self.at)
        if self.member.enrolled is not None:
            yield joined(self.member.enrolled, self.at)

    def _arm(self) -> Phrase:
        arm, weights = self.member.arm, self.story.launched.weights or {}
        ratio = ", ".join(f"{name} {weight}" for name, weight in weights.items())
        if self.member.held_out:
            share = words.per_cent(self.story.launched.holdout)
            return Phrase(
                f"Held out: in the {share} whom a stable hash of the user's id keeps from all messages of the "
                f"campaign, so that there is somebody to compare with (their arm would be {arm}).",
                f"属于对照组：按用户 ID 的稳定哈希，{share} 的用户不接收本活动的任何消息，"
                f"以便比较（其实验组为 {arm}）。",
            )
        if len(weights) < 2:  # noqa: PLR2004  # one arm is no experiment
            return Phrase("No experiment: there is one arm.", "未做分组实验：只有一个组。")
        return Phrase(
            f"Arm {arm}: a stable hash of the user's id put them there (weights: {ratio}); the same in every run.",
            f"实验组 {arm}：由用户 ID 的稳定哈希分配（权重：{ratio}），各批次一致。",
        )

    def _decision(self) -> Phrase:
        member = self.member
        if member.decision == "skipped":
            en, zh = reason_words(member.reason, "en"), reason_words(member.reason, "zh")
            return Phrase(f"Decision: skipped, {en or 'no reason given'}.", f"决策：跳过，{zh or '未记录原因'}。")
        opened = Phrase("", "")
        if member.anchor:
            at = self.at(member.anchor)
            opened = Phrase(f"; the run opened for them on {at}", f"；批次于 {at} 对其开启")
        why = Phrase("", "")
        if member.reason:
            en, zh = reason_words(member.reason, "en"), reason_words(member.reason, "zh")
            why = Phrase(f". The first step was left out: {en}", f"。第一步未采用：{zh}")
        return Phrase(f"Decision: planned{opened.en}{why.en}.", f"决策：计划发送{opened.zh}{why.zh}。")

    def _message(self, message: MessageStory) -> Iterator[str]:
        yield self._owed(message).in_(self.locale)
        if message.timed is not None:
            yield f"  {self._hour(message, message.timed).in_(self.locale)}"
        for _, phrase in sorted(self._happened(message), key=lambda dated: dated[0]):
            yield f"  {phrase.in_(self.locale)}"
        yield f"  {self._state(message).in_(self.locale)}"

    def _happened(self, message: MessageStory) -> Iterator[tuple[datetime, Phrase]]:
        """What happened to a message, each with its instant."""
        yield from ((one.at, self._attempt(one)) for one in message.attempts)
        yield from ((one.at, self._change(one, message)) for one in message.changes if one.new == State.PLANNED)
        yield from ((one.at, self._receipt(one)) for one in message.receipts)
        if message.opened_at:
            at = self.at(message.opened_at)
            yield message.opened_at, Phrase(f"Opened from the message on {at}.", f"{at} 从该消息点开应用。")
        others = [one for one in message.touches if (one.deed, one.confidence) != (OPENED, "human")]
        yield from ((one.at, self._touch(one)) for one in others)

    def _owed(self, message: MessageStory) -> Phrase:
        due, deadline = self.at(message.due_at), self.at(message.deadline)
        channel = words.word(message.channel, "en"), words.word(message.channel, "zh")
        clock = Phrase("their time", "当地时间") if self.zone else Phrase("zone not known exactly", "时区不确切")
        return Phrase(
            f"Step {message.step}: {channel[0]} through {message.account}, due {due} ({clock.en}), "
            f"not after {deadline}.",
            f"步骤 {message.step}：{channel[1]}，经 {message.account}，应于 {due}（{clock.zh}）发送，最迟 {deadline}。",
        )

    def _hour(self, message: MessageStory, timed: int) -> Phrase:
        """Why this hour of the window."""
        local = message.due_at.astimezone(self.zone or ZoneInfo("UTC"))
        hour = f"{local:%H}:00"
        if timed == EXPLORED:
            return Phrase(f"{hour}, explored: any hour of the window.", f"{hour}，探索：发送时段内任选一小时。")
        if timed == POPULATION:
            return Phrase(
                f"{hour}, the population's best hour: too little is known of their own.",
                f"{hour}，整体用户的最佳时间：该用户自身记录不足。",
            )
        return Phrase(
            f"{hour}, best hour of their own ({timed:,} opens).", f"{hour}，其本人的最佳时间（{timed:,} 次打开）。"
        )

    def _attempt(self, one: AttemptStory) -> Phrase:
        said = []
        provider = self.providers.get(one.account, "")
        for locale in ("en", "zh"):
            shown = one.code and one.outcome != OutcomeClass.ACCEPTED
            code = f" [{code_words(one.code, locale, provider)}]" if shown else ""
            said.append(f"{outcome_words(one.outcome, locale)}{code}")
        at = self.at(one.at)
        return Phrase(f"Attempt {one.n} on {at}: {said[0]}.", f"第 {one.n} 次尝试，{at}：{said[1]}。")

    def _change(self, change: ChangeStory, message: MessageStory) -> Phrase:
        at, provider = self.at(change.at), self._provider(message, change.at)
        en, zh = (reason_words(change.reason, locale, provider) for locale in ("en", "zh"))
        again = Phrase("To be tried again", "等待重试") if change.old == State.SENDING else Phrase("Held back", "暂缓")
        if change.reason.startswith(f"{WOKEN}:"):
            return Phrase(f"Brought forward on {at}: {en}.", f"{at} 提前发送：{zh}。")
        if change.old == State.PLANNED:  # another account
            return Phrase(f"Moved on {at}: {en} ({change.actor}).", f"{at} 改道：{zh}（{change.actor}）。")
        return Phrase(
            f"{again.en} since {at}{f': {en}' if en else ''} ({change.actor}).",
            f"{at} 起{again.zh}{f'：{zh}' if zh else ''}（{change.actor}）。",
        )

    def _receipt(self, one: ReceiptStory) -> Phrase:
        at, whose = self.at(one.at), one.provider + RECEIPT
        en, zh = (f" [{code_words(one.code, locale, whose)}]" if one.code else "" for locale in ("en", "zh"))
        said = one.status.partition(":")[0].partition(" ")[0]  # what follows tells events of one kind apart
        return Phrase(f"{one.provider} reported {said} on {at}{en}.", f"{at} {one.provider} 回执：{said}{zh}。")

    def _touch(self, one: TouchStory) -> Phrase:
        """An open by something else than a person, or a click: who it probably was, and by which rule."""
        at, why = self.at(one.at), f" [{one.why}]" if one.why else ""
        deed = Phrase("An open", "打开") if one.deed == OPENED else Phrase("A click", "点击")
        return Phrase(
            f"{deed.en} on {at}, {_BY[one.confidence].en}{why}.", f"{at} {deed.zh}，{_BY[one.confidence].zh}{why}。"
        )

    def _state(self, message: MessageStory) -> Phrase:
        phrase = _STATES.get(State(message.state)) if message.state in set(State) else None
        phrase = phrase or Phrase(message.state, message.state)
        with_reason = message.state in {"skipped", "expired", "failed", "undelivered", "planned"} and message.reason
        whose = self._whose(message)
        en, zh = (reason_words(message.reason, locale, whose) if with_reason else "" for locale in ("en", "zh"))
        return Phrase(f"{phrase.en}{f': {en}' if en else ''}.", f"{phrase.zh}{f'：{zh}' if zh else ''}。")

    def _whose(self, message: MessageStory) -> str:
        """Whose code the message's reason is, if it is one: that of a receipt, or of the last attempt."""
        told = (one.provider for one in reversed(message.receipts) if one.code == message.reason)
        receipt = next(told, "") if message.state == State.UNDELIVERED else ""
        return receipt + RECEIPT if receipt else self._provider(message, self.story.as_of)

    def _provider(self, message: MessageStory, at: datetime) -> str:
        """The provider through which a message last went by then."""
        accounts = [one.account for one in message.attempts if one.at <= at]
        return self.providers.get(accounts[-1] if accounts else message.account, "")

    def _operator(self, change: ChangeStory) -> Phrase:
        at = self.at(change.at)
        if change.reason.startswith("version "):
            version = change.reason.removeprefix("version ")
            return Phrase(
                f"Meanwhile, on {at}, {change.actor} launched version {version}.",
                f"期间，{at} {change.actor} 启用了版本 {version}。",
            )
        return Phrase(
            f"Meanwhile, on {at}, {change.actor} set the campaign to {change.new}.",
            f"期间，{at} {change.actor} 将活动设为 {words.word(change.new, 'zh')}。",
        )

    def _response(self) -> Iterator[Phrase]:
        member, launched = self.member, self.story.launched
        if member.decision == "skipped" and not member.reopened_at:
            return
        yield self._reopened()
        if launched.conversion and member.converted_at:
            at = self.at(member.converted_at)
            value = "" if member.conversion_value is None else f" ({member.conversion_value:g})"
            yield Phrase(
                f"Converted: {launched.conversion} on {at}{value}.", f"转化：{at} {launched.conversion}{value}。"
            )

    def _reopened(self) -> Phrase:
        member, launched = self.member, self.story.launched
        within = words.span_words(launched.within, "en"), words.span_words(launched.within, "zh")
        if member.reopened_at:
            at = self.at(member.reopened_at)
            return Phrase(f"Came back on {at} ({launched.goal}).", f"{at} 回访（{launched.goal}）。")
        if launched.within and member.anchor and self.story.as_of < member.anchor + launched.within:
            until = self.at(member.anchor + launched.within)
            return Phrase(f"Has not come back so far; it counts until {until}.", f"目前尚未回访；计入时限至 {until}。")
        if launched.within is None:
            return Phrase("Did not come back.", "未回访。")
        return Phrase(
            f"Did not come back within {within[0]} of the run's opening.", f"批次开启后 {within[1]}内未回访。"
        )
