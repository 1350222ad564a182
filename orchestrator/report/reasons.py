"""Every reason and every provider code in words, English and Chinese: one table for explain, report and console.

Keys are what stands in the ledger (``member.reason``, ``message.reason``, ``attempt.code``). What is not in the tables
is printed as it is: a wrong sentence is worse than a bare code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LOCALES = ("en", "zh")


@dataclass(frozen=True, slots=True)
class Phrase:
    """The same thing said in both languages."""

    en: str
    zh: str

    def in_(self, locale: str) -> str:
        """The sentence for a locale; ``zh-CN`` counts as ``zh``, everything else as English."""
        return self.zh if locale.lower().startswith("zh") else self.en


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
    "capped": Phrase("the frequency cap left no room before the deadline", "在截止时间前，频次上限没有余量"),
    "came_back": Phrase("came back before the message left", "消息发出前用户已自行回访"),
    "reopened": Phrase("had reopened the app by then, so this step was not needed", "届时用户已回访，无需此步骤"),
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
    "stopped": Phrase("the campaign was stopped", "活动已停止"),
    "paused": Phrase("the campaign was paused", "活动已暂停"),
    "expired": Phrase("the deadline passed before it could leave", "未能在截止时间前发出"),
    "too_late_for_step": Phrase("too late for this step's own window", "对该步骤的发送时段而言已太晚"),
    "max_audience": Phrase(
        "the audience is larger than max_audience: the run was not sent", "人群超过 max_audience，整批未发送"
    ),
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
}

CODES: Mapping[str, Phrase] = {
    # FCM
    "UNREGISTERED": Phrase("the app is no longer installed under this token", "该推送令牌对应的应用已卸载"),
    "INVALID_ARGUMENT": Phrase("the provider refused the message's content or token", "服务商拒绝了消息内容或令牌"),
    "SENDER_ID_MISMATCH": Phrase("the token belongs to another project", "令牌属于另一个项目"),
    "NOT_FOUND": Phrase("the project's path is wrong", "项目路径有误"),
    "UNAUTHENTICATED": Phrase("our credentials were refused", "我方凭证被拒绝"),
    "PERMISSION_DENIED": Phrase("our account may not do this", "我方账号没有权限"),
    "THIRD_PARTY_AUTH_ERROR": Phrase("the APNs key or web push credential is bad", "APNs 密钥或 Web Push 凭证有误"),
    "APNS_AUTH_ERROR": Phrase("the APNs key in the project is bad", "项目中的 APNs 密钥有误"),
    "QUOTA_EXCEEDED": Phrase("the provider's quota is used up for now", "服务商配额暂时用完"),
    "RESOURCE_EXHAUSTED": Phrase("the provider's quota is used up for now", "服务商配额暂时用完"),
    "INTERNAL": Phrase("an error inside the provider", "服务商内部错误"),
    "UNAVAILABLE": Phrase("the provider is overloaded", "服务商过载"),
    "UNSPECIFIED_ERROR": Phrase("the provider gave no reason", "服务商未说明原因"),
    # Twilio
    "20003": Phrase("our credentials were refused", "我方凭证被拒绝"),
    "20005": Phrase("our account is not active", "我方账号未激活"),
    "20429": Phrase("too many requests at once", "请求过多"),
    "21211": Phrase("not a valid phone number", "电话号码无效"),
    "21217": Phrase("not a valid phone number", "电话号码无效"),
    "21408": Phrase("sending to this country is not enabled", "未开通向该国家发送"),
    "21602": Phrase("the text is empty", "短信内容为空"),
    "21606": Phrase("our sender number cannot send this", "我方发送号码不可用"),
    "21610": Phrase("the person replied STOP", "用户已回复退订"),
    "21611": Phrase("the sender's queue is full", "发送队列已满"),
    "21612": Phrase("this sender cannot reach this number", "该发送号码无法触达此号码"),
    "21614": Phrase("not a mobile number", "不是手机号码"),
    "21617": Phrase("the text is too long", "短信内容过长"),
    "21703": Phrase("the messaging service has no sender", "消息服务没有发送号码"),
    "30001": Phrase("the provider's queue overflowed", "服务商队列溢出"),
    "30002": Phrase("our account is suspended", "我方账号被暂停"),
    "30003": Phrase("the phone is off or out of reach", "手机关机或不在服务区"),
    "30004": Phrase("the message is blocked", "消息被拦截"),
    "30005": Phrase("the number does not exist", "空号"),
    "30006": Phrase("a landline, or a carrier that cannot be reached", "座机或无法到达的运营商"),
    "30007": Phrase("filtered as spam by the carrier", "被运营商当作垃圾短信过滤"),
    "30008": Phrase("unknown error at the carrier", "运营商未知错误"),
    "30017": Phrase("the carrier's network is congested", "运营商网络拥塞"),
    "30019": Phrase("the content is too large", "内容过大"),
    "30022": Phrase("the sender's rate at the carrier is used up", "运营商侧发送速率已用完"),
    "30023": Phrase("the sender's daily cap is used up", "发送号码当日额度已用完"),
    "30024": Phrase("the sender is not set up with the carrier", "发送号码未在运营商开通"),
    "30032": Phrase("the toll-free number is not verified", "免费电话号码未验证"),
    "30033": Phrase("the sender's registration is suspended", "发送号码的注册已被暂停"),
    "30034": Phrase("the sender is not registered", "发送号码未注册"),
    "30035": Phrase("the sender's number is still being set up", "发送号码仍在开通中"),
    "30037": Phrase("outgoing messages are disabled for our account", "我方账号已禁止外发"),
    "30036": Phrase("its validity ended before it could be sent", "有效期内未能发出"),
    "30046": Phrase("delivery was not confirmed", "送达未获确认"),
    "30410": Phrase("the provider waited too long for the carrier", "服务商等待运营商超时"),
    "30450": Phrase("the provider suspects SMS pumping", "服务商怀疑短信盗刷"),
    "30453": Phrase("the provider suspects SMS pumping", "服务商怀疑短信盗刷"),
    "30454": Phrase("a daily limit at the provider is used up", "服务商每日限额已用完"),
    "63018": Phrase("the sender's rate is used up", "发送速率已用完"),
    "30500": Phrase("an error inside the provider", "服务商内部错误"),
    "30610": Phrase("outside the legal hours", "不在法定允许时段"),
    # transport, whoever the provider is
    "timeout": Phrase("no answer in time", "超时未应答"),
    "broken": Phrase("the connection broke before the answer", "收到应答前连接中断"),
    "connect": Phrase("no connection could be made; nothing left", "无法建立连接，未发出"),
    "pool_timeout": Phrase("no connection was free in time; nothing left", "没有空闲连接，未发出"),
    "bad_request": Phrase("the request could not be built; nothing left", "请求无法构造，未发出"),
    "payload": Phrase("the message breaks the provider's rules", "消息不符合服务商规则"),
    "unreadable": Phrase("the answer could not be read", "应答无法解读"),
    "no_sid": Phrase("answered yes without an id", "应答成功但没有编号"),
    "reconciled": Phrase("found at the provider when asked", "向服务商查询后确认"),
    "never_arrived": Phrase("the provider never had it, as asking showed", "向服务商查询后确认从未收到"),
    "written": Phrase("written to the log file", "已写入日志文件"),
    "file": Phrase("the log file could not be written", "日志文件无法写入"),
    "worker_died": Phrase("the worker died before the answer", "收到应答前进程中断"),
    "400": Phrase("the provider refused the request", "服务商拒绝请求"),
    "401": Phrase("our credentials were refused", "我方凭证被拒绝"),
    "403": Phrase("our account may not do this", "我方账号没有权限"),
    "404": Phrase("the provider knows no such thing", "服务商找不到目标"),
    "408": Phrase("the provider waited too long", "服务商等待超时"),
    "429": Phrase("too many requests at once", "请求过多"),
    "500": Phrase("an error inside the provider", "服务商内部错误"),
    "502": Phrase("the provider's gateway failed", "服务商网关错误"),
    "503": Phrase("the provider is overloaded", "服务商过载"),
    "504": Phrase("the provider's gateway waited too long", "服务商网关超时"),
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


def reason_words(reason: str | None, locale: str) -> str:
    """A reason or code in words. ``template:no orders`` keeps what follows; the unknown is printed as it is."""
    if not reason:
        return ""
    if phrase := REASONS.get(reason) or CODES.get(reason):
        return phrase.in_(locale)
    head, colon, rest = reason.partition(":")
    phrase = REASONS.get(head) or OUTCOMES.get(head)
    if not colon or phrase is None:
        return reason
    rest = rest.strip()
    joint = "：" if locale.lower().startswith("zh") else ": "
    return f"{phrase.in_(locale)}{joint}{code_words(rest, locale)}"


def code_words(code: str | None, locale: str) -> str:
    """A provider's code with its meaning: ``21610 (the person replied STOP)``; an unknown one as it is."""
    if not code:
        return ""
    phrase = CODES.get(code) or CODES.get(code.lower().removeprefix("http").strip(" _-"))
    if phrase is None:
        return reason_words(code, locale) if ":" in code else code
    return f"{code}（{phrase.zh}）" if locale.lower().startswith("zh") else f"{code} ({phrase.en})"


def outcome_words(outcome: str, locale: str) -> str:
    """What became of one request, in words."""
    phrase = OUTCOMES.get(outcome)
    return phrase.in_(locale) if phrase else outcome
