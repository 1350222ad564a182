"""What a person asks for when they answer a text message.

Refusing must be easy: people write ``STOP please``, ``stop.``, ``Please stop texting me``, ``ＴＤ``, ``回复R``, and
mean it (47 CFR 64.1200(a)(10): any reasonable means; China's 短信息服务管理规定: a convenient way out, obeyed at once).
Coming back must be explicit: only the bare word lifts a suppression. A text that has both is a refusal.

The price is stated: ``don't stop`` is taken as a refusal too. One lost subscriber costs less than one ignored refusal.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum


class Asked(StrEnum):
    """What the sender wants."""

    STOP = "stop"
    """No more messages on this channel."""
    START = "start"
    """Messages again."""
    OTHER = "other"
    """Something that a machine should not answer."""


_ANYWHERE = frozenset({
    "stop", "stopall", "unsubscribe", "unsub", "optout", "stopp", "arret", "abmelden",
})  # fmt: skip
"""Refusals wherever they stand in a text."""

_CHINESE = ("退订", "退定", "拒收", "取消订阅", "停止发送", "别再发", "别发了", "不要再发", "不要发了", "勿扰")
"""Refusals as part of a text without spaces."""

_FIRST = frozenset({
    "cancel", "end", "quit", "revoke", "remove", "baja", "alto", "parar", "sair", "annulla", "td", "tuiding",
})  # fmt: skip
"""Refusals as the first word: they mean something else in the middle of a sentence."""

_ALONE = frozenset({"t", "r", "n", "q", "qx", "停", "停止", "取消", "不要"})
"""Refusals only as the whole text; Chinese senders ask for such a letter (``拒收请回复R``)."""

_START = frozenset({"start", "yes", "unstop", "subscribe", "resume", "恢复", "订阅", "恢复订阅", "重新订阅"})

_POLITE = frozenset({"please", "pls", "plz", "thanks", "now", "again", "请", "谢谢"})
_REPLY_PREFIX = re.compile(r"^(?:请?回复?|请)\s*(?=\S)")
_NOT_A_WORD = re.compile(r"[\W_]+")
_JOINED = ((("opt", "out"), "optout"), (("stop", "all"), "stopall"))


def asked(text: str) -> Asked:
    """What this reply asks for; letter case, width, accents, punctuation and politeness do not matter."""
    words = _words(text)
    if _refuses(words):
        return Asked.STOP
    plain = [word for word in words if word not in _POLITE]
    return Asked.START if len(plain) == 1 and plain[0] in _START else Asked.OTHER


def _refuses(words: list[str]) -> bool:
    plain = [word for word in words if word not in _POLITE]
    if not plain:
        return False
    alone = len(plain) == 1 and plain[0] in _ALONE
    whole = "".join(words)
    return (
        alone or plain[0] in _FIRST or not _ANYWHERE.isdisjoint(plain) or any(refusal in whole for refusal in _CHINESE)
    )


def _words(text: str) -> list[str]:
    """Lower-case words of a text, without accents and punctuation; ``opt out`` becomes one word."""
    wide = unicodedata.normalize("NFKD", text[:1600]).casefold()
    bare = "".join(letter for letter in wide if not unicodedata.combining(letter) and letter not in "'’")
    spaced = _REPLY_PREFIX.sub("", _NOT_A_WORD.sub(" ", bare).strip())
    words = spaced.split()
    for pair, joined in _JOINED:
        words = _join(words, pair, joined)
    return words


def _join(words: list[str], pair: tuple[str, str], joined: str) -> list[str]:
    out: list[str] = []
    for word in words:
        if out and (out[-1], word) == pair:
            out[-1] = joined
        else:
            out.append(word)
    return out
