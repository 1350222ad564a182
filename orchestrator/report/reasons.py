"""Every reason and every provider code in words, English and Chinese, for explain, report and console.

Keys are what stands in the ledger (``member.reason``, ``message.reason``; ``attempt.code``: see ``codes.yaml``). What
is not in the tables is printed as it is: a wrong sentence is worse than a bare code.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.report.codes import Phrase, phrase_of
from orchestrator.report.follow_up_words import FOLLOW_UPS

LOCALES = ("en", "zh")

REASONS: Mapping[str, Phrase] = {
    "no_address": Phrase("no usable address on this channel", "此渠道没有可用的触达地址"),
    "no_consent": Phrase("no consent for this topic on this channel", "用户未授权在此渠道接收此类消息"),
    "suppressed": Phrase("suppressed: this address or person must not be sent to", "已禁发：该地址或用户不得触达"),
    "zone_unknown": Phrase(
        "the time zone is not known, and no instant is inside the window in every zone it could be",
        "时区未知，且没有任何时刻在所有可能时区内都处于发送时段",
    ),
    "quiet_hours": Phrase("quiet hours of the country and channel", "处于该国家和渠道的免打扰时段"),
    "late": Phrase("the window of that date had already passed", "当日的发送时段已过"),
    "excluded": Phrase("in a segment that the campaign excludes", "属于活动排除的人群"),
    "capped": Phrase("at a frequency cap", "已达频次上限"),
    "backoff": Phrase(
        "has not answered the last messages, so the next one waits longer, or is not sent",
        "近期消息均无回应，因此延后或不再发送",
    ),
    "no_longer_in_segment": Phrase(
        "no longer in the campaign's segment as the message was to leave", "发送时已不在活动的目标人群中"
    ),
    "came_back": Phrase("came back before the message left", "消息发出前用户已自行回访"),
    "needless": Phrase(
        "did meanwhile what makes it needless (`unless` of the trigger)",
        "期间已发生使其不再必要的事件（触发条件 unless）",
    ),
    "template": Phrase("the template could not be used, or asked not to send", "模板无法使用，或模板要求不发送"),
    "address_dead": Phrase("the provider says that this address is dead", "服务商称该地址已失效"),
    "storm": Phrase(
        "too many dead-address answers at once: the address is set aside, not deleted",
        "短时间内失效回应过多：地址暂停使用，未删除",
    ),
    "poison": Phrase("composing or sending it crashed workers repeatedly", "处理该消息时进程多次崩溃"),
    "merged": Phrase(
        "merged into another user, who takes part from the next run on", "该用户已合并到另一用户，后者从下一批次起参与"
    ),
    "erased": Phrase("the person was erased (GDPR, PIPL)", "该用户的个人信息已被删除（GDPR / PIPL）"),
    "stopped": Phrase("the campaign was stopped", "活动已停止"),
    "paused": Phrase("the campaign was paused", "活动已暂停"),
    "expired": Phrase("the deadline passed before it could leave", "未能在截止时间前发出"),
    "too_late_for_step": Phrase("too late for this step's own window", "对该步骤的发送时段而言已太晚"),
    "max_audience": Phrase(
        "the audience is larger than max_audience: the run was not sent", "人群超过 max_audience，整批未发送"
    ),
    "unusual_size": Phrase(
        "more than three times as many people as usual: waits until somebody confirms it, and is not sent otherwise",
        "人数超过平常的三倍：等待确认，未确认则不发送",
    ),
    "confirmed": Phrase("somebody confirmed its size", "人数已由操作员确认"),
    "warm_up": Phrase("the account is being warmed up: it has sent its share of the day", "账号预热中：当日额度已用完"),
    "window": Phrase("outside the recipient's window", "不在收件人的发送时段内"),
    "superseded": Phrase("another user of the same device gets the copy", "同一设备的另一位用户接收这条消息"),
    "duplicate_address": Phrase("another member with the same address gets the copy", "同一地址的另一成员接收这条消息"),
    "rate": Phrase("waiting for the rate limit", "等待速率额度"),
    "account_stopped": Phrase("the account at the provider is stopped", "服务商账号已停用"),
    "released": Phrase("given back by a worker that ended", "工作进程结束，任务退回"),
    "lease_lost": Phrase("its worker's lease ran out", "工作进程的租约已到期"),
    "ambiguous": Phrase(
        "the answer was lost: it may or may not have been accepted", "应答丢失：可能已受理，也可能没有"
    ),
    "resolved": Phrase("decided by an operator: no provider can be asked", "由运营人员确定：无法向服务商查询"),
    "reconciled": Phrase("settled by asking the provider", "经向服务商查询后确定"),
    "attempts": Phrase("the retries are used up", "重试次数已用完"),
    "no_window": Phrase(
        "the window does not exist on that date in the member's zone", "该日期在成员时区内没有此发送时段"
    ),
    "holiday": Phrase("a public holiday where the member lives", "成员所在地当日为公共假日"),
    "step_before": Phrase("waiting for the step before it", "等待上一步骤"),
    "next_address": Phrase("that address is dead; going to the user's next one", "该地址已失效，改用用户的下一个地址"),
    "no_account": Phrase("no account takes the addresses that there are", "没有可发送至该用户地址的服务商账号"),
    "next_account": Phrase(
        "its account is stopped, and it goes through another", "原服务商账号已停用，改由其他账号发送"
    ),
    "quota": Phrase(
        "this device has had what its maker lets one app send a day", "该设备已达到厂商规定的单应用每日推送上限"
    ),
    "unfit": Phrase("the provider would refuse this content", "服务商不会接受该内容"),
    "too_large": Phrase("the message is too large for the channel", "消息超出渠道大小限制"),
    "render_error": Phrase("the message could not be composed", "消息无法生成"),
    "retry_too_late": Phrase("it could only be tried again after the deadline", "重试时间晚于截止时间"),
    "receipt": Phrase(
        "the provider's receipt shows that an earlier attempt arrived", "服务商回执表明此前一次尝试已被受理"
    ),
    "token": Phrase("getting an access token", "获取访问令牌"),
    "worker_died": Phrase("its worker died; taken back", "工作进程中断，任务收回"),
    "resend": Phrase(
        "its worker died while sending; goes again under the same collapse key", "发送时进程中断，以相同折叠键重发"
    ),
    "only_to": Phrase(
        "not on the deployment's allow-list (only_to): a staging deployment sends to nobody else",
        "不在部署的白名单（only_to）中：预发布环境不发送给其他人",
    ),
    "budget": Phrase("the campaign's SMS budget was used up", "活动的短信预算已用完"),
    "restored": Phrase(
        "may have been sent before an older database was restored, so it was not sent again",
        "恢复旧数据库之前可能已经发送，因此不再重发",
    ),
    "held_out": Phrase("belongs to the holdout", "属于对照组"),
    "edited": Phrase(
        "taken back: the version that was launched meanwhile does not have it", "已收回：其间启用的新版本不含此消息"
    ),
    "edited_out": Phrase(
        "not in the audience of the version that was launched meanwhile", "不在其间启用的新版本的目标人群中"
    ),
    "adopting": Phrase("is taking on the version that was launched", "正在改用新启用的版本"),
    "planned_again": Phrase(
        "is being planned in parts, each in place of what was planned of it before",
        "正在分批计划，各批会取代此前已计划的内容",
    ),
    **FOLLOW_UPS,
}

OUTCOMES: Mapping[str, Phrase] = {
    "accepted": Phrase("the provider took it", "服务商已受理"),
    "retry": Phrase("a passing failure, to be tried again", "暂时失败，将重试"),
    "retry_after": Phrase("the provider asked to wait", "服务商要求稍后再试"),
    "drop_address": Phrase("this address is dead", "该地址已失效"),
    "suppress": Phrase("the person refuses messages", "用户拒收"),
    "drop_message": Phrase("this message cannot be sent; the address is fine", "该消息无法发送；地址正常"),
    "stop_channel": Phrase(
        "our account or settings are wrong; the account was stopped", "我方账号或配置有误，账号已停用"
    ),
    "ambiguous": Phrase("no clear answer: it may or may not have been accepted", "无明确应答：可能已受理，也可能没有"),
}


def reason_words(reason: str | None, locale: str, provider: str = "") -> str:
    """A reason or code in words. ``template:no orders`` keeps what follows; the unknown is printed as it is."""
    if not reason:
        return ""
    if phrase := REASONS.get(reason) or phrase_of(reason, provider):
        return phrase.in_(locale)
    head, colon, rest = reason.partition(":")
    phrase = REASONS.get(head) or OUTCOMES.get(head)
    if not colon or phrase is None:
        return reason
    rest = rest.strip()
    joint = "：" if locale.lower().startswith("zh") else ": "
    return f"{phrase.in_(locale)}{joint}{code_words(rest, locale, provider)}"


def code_words(code: str | None, locale: str, provider: str = "") -> str:
    """A provider's code with its meaning: ``21610 (the person replied STOP)``; an unknown one as it is.

    ``provider``: as :func:`orchestrator.report.codes.phrase_of` has it.
    """
    if not code:
        return ""
    phrase = phrase_of(code, provider)
    if phrase is None:
        return reason_words(code, locale, provider) if ":" in code else code
    return f"{code}（{phrase.zh}）" if locale.lower().startswith("zh") else f"{code} ({phrase.en})"


def outcome_words(outcome: str, locale: str) -> str:
    """What became of one request, in words."""
    phrase = OUTCOMES.get(outcome)
    return phrase.in_(locale) if phrase else outcome
