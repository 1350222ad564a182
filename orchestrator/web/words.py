"""What our pages say, in English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LANGUAGES: Final = ("en", "zh")

WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "unsubscribe": "Unsubscribe",
        "ask": "Stop these messages?",
        "about": "You get them by {channel}, about: {topic}.",
        "confirm": "Unsubscribe",
        "done": "You are unsubscribed",
        "done_text": "You will get no more messages by {channel} about: {topic}.",
        "nothing_yet": "Nothing changes until you press the button.",
        "choose": "Choose what you get instead",
        "preferences": "Your messages",
        "intro": "Choose what we may send you, and how.",
        "save": "Save",
        "saved": "Saved. It holds from now on.",
        "none": "Unsubscribe from everything",
        "none_done": "Done. We will not send you any of these messages.",
        "preview": "This is a preview: nobody's settings are shown, and nothing is saved.",
        "push": "App",
        "sms": "SMS",
        "email": "Email",
        "push_of": "app notification",
        "sms_of": "SMS",
        "email_of": "email",
        "not_found": "This link does not work",
        "not_found_text": "It may be incomplete: copy the whole address from the message and try again.",
        "waits": "Waits for you: we mail you a link to confirm it.",
        "agree_ask": "May we write to you?",
        "agree_about": "You asked for messages by {channel}, about: {topic}.",
        "agree": "Yes, send them to me",
        "agree_not": "Nothing is sent until you press the button. It was not you? Then close this page.",
        "agreed": "Thank you, it is confirmed",
        "agreed_text": "You will get messages by {channel} about: {topic}. Each of them has a link to stop them.",
        "over": "This link no longer holds",
        "over_text": "It is older than 30 days, or you decided otherwise since. Sign up again to get a new one.",
        "busy": "One moment, please",
        "busy_text": "Your wish could not be saved just now. Nothing is lost: go back and try again.",
        "other": "中文",
    },
    "zh": {
        "unsubscribe": "退订",
        "ask": "不再接收这类消息？",
        "about": "您通过{channel}收到关于“{topic}”的消息。",
        "confirm": "确认退订",
        "done": "退订成功",
        "done_text": "我们不会再通过{channel}向您发送关于“{topic}”的消息。",
        "nothing_yet": "点击按钮之前，不会有任何改变。",
        "choose": "改为选择想接收的内容",
        "preferences": "消息设置",
        "intro": "请选择您愿意接收的内容和方式。",
        "save": "保存",
        "saved": "已保存，立即生效。",
        "none": "全部退订",
        "none_done": "已全部退订，我们不会再向您发送这些消息。",
        "preview": "这是预览：不显示任何人的设置，也不会保存。",
        "push": "App",
        "sms": "短信",
        "email": "邮件",
        "push_of": "App 通知",
        "sms_of": "短信",
        "email_of": "邮件",
        "not_found": "链接无效",
        "not_found_text": "链接可能不完整：请从消息中复制完整地址后重试。",
        "waits": "待确认：我们会发邮件给您，请点击其中的链接。",
        "agree_ask": "可以给您发消息吗？",
        "agree_about": "您申请通过{channel}接收关于“{topic}”的消息。",
        "agree": "同意接收",
        "agree_not": "点击按钮之前，我们不会发送任何消息。如非本人操作，请直接关闭此页面。",
        "agreed": "确认成功，谢谢",
        "agreed_text": "您将通过{channel}收到关于“{topic}”的消息，每条消息中都有退订链接。",
        "over": "此链接已失效",
        "over_text": "链接已超过 30 天，或您后来已改变选择。如需接收，请重新订阅。",
        "busy": "请稍候",
        "busy_text": "暂时无法保存您的选择，请返回后重试。",
        "other": "English",
    },
}


def language_of(asked: str, locale: str, accepted: str) -> str:
    """The language of a page: the one asked for, else the user's, else the first of the browser's that we have."""
    wanted = [asked, locale, *(part.partition(";")[0] for part in accepted[:200].split(","))]
    for one in wanted:
        tag = one.strip().lower().replace("_", "-").partition("-")[0]
        if tag in LANGUAGES:
            return tag
    return LANGUAGES[0]
