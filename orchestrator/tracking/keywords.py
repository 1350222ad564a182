"""What a person asks for when they answer a text message.

Refusing must be easy: people write ``STOP please``, ``stop.``, ``S T O P``, ``stopp``, ``Please stop texting me``,
``unsuscribe``, ``ＴＤ``, ``回复R``, ``退訂``, and mean it (47 CFR 64.1200(a)(10): any reasonable means; China's
短信息服务管理规定: a convenient way out, obeyed at once). Coming back must be explicit: only the bare word lifts a
suppression. A text that has both is a refusal.

The two mistakes do not cost the same. A refusal that is missed is an offence, and the person's anger; one that nobody
meant costs one subscriber, who writes START. So in doubt it is a refusal, however long the text. Taken out of it is
only what cannot be one: another word that has it inside (``nonstop``), a short text that says the contrary (``don't
stop``), and the stop at which buses halt.
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
    "stop", "stopall", "stopit", "stopthis", "stpo", "sotp", "tsop", "stip", "unsubscribe", "unsub", "optout", "arret",
    "abmelden", "abbestellen", "desabonner", "cancelar", "desuscribir",
})  # fmt: skip
"""Refusals wherever they stand in a text, typing mistakes among them."""

_LONG = ("unsubscribe", "unsubscribed", "abbestellen")
"""Words so long that two letters wrong, missing or too many are still them."""

_CHINESE = (
    "退订", "退訂", "退定", "拒收", "拒绝接收", "拒絕接收", "取消订阅", "取消訂閱", "停止发", "停止發",
    "别再发", "別再發", "别发了", "別發了", "别给我发", "別給我發", "不要再发", "不要再發", "不要发", "不要發",
    "不再接收", "不想收", "不想再收", "勿扰", "勿擾", "勿发", "勿發", "别烦我", "別煩我", "别打扰", "別打擾",
    "不要打扰", "不要打擾",
)  # fmt: skip
"""Refusals as part of a text without spaces."""

_PHRASES = re.compile(
    r"\b(remove|delete|unlist) me\b|\btake me off\b|\bleave me alone\b|\bgo away\b|\blose my number\b"
    r"|\bno (more )?(texts?|messages?|msgs?|sms|e ?mails?|spam)\b"
    r"|\b(do not|dont|never|quit|cease) (ever )?(text|messag|contact|sms|e ?mail|call|send|writ|spam|both)"
)
"""Refusals in several words."""

_FIRST = frozenset({
    "cancel", "cancle", "end", "quit", "revoke", "remove", "baja", "alto", "parar", "pare", "sair", "annulla", "td",
    "tuiding",
})  # fmt: skip
"""Refusals as the first word: they mean something else in the middle of a sentence."""

_ALONE = frozenset({"t", "r", "n", "q", "qx", "停", "停止", "取消", "不要", "不需要", "滚", "滾"})
"""Refusals only as the whole text; Chinese senders ask for such a letter (``拒收请回复R``)."""

_START = frozenset({
    "start", "yes", "unstop", "subscribe", "resubscribe", "resume", "optin", "恢复", "恢復", "开始", "開始",
    "订阅", "訂閱", "恢复订阅", "恢復訂閱", "重新订阅", "重新訂閱", "取消退订", "取消退訂",
})  # fmt: skip

_POLITE = frozenset(
    {"please", "pls", "plz", "thanks", "thank", "you", "now", "again", "ok", "请", "請", "谢谢", "謝謝"}
)
_REPLY_PREFIX = re.compile(r"^(?:请?(?:回复|回覆|回)|請?(?:回復|回覆|回)|请|請)\s*(?=\S)")
_NOT_A_WORD = re.compile(r"[\W_]+")
_JOINED = ((("opt", "out"), "optout"), (("opt", "in"), "optin"), (("stop", "all"), "stopall"))

_CONTRARY = re.compile(r"\b(dont|do not|never|cant|cannot|wont|non|not) (ever )?stop\b")
_NO_CONTRARY = frozenset({"if", "unless", "until", "why", "you", "u", "or"})
"""With these it is a threat or a question: ``if you don't stop``."""
_SHORT = 6
"""Words of a text that may say the contrary; a longer one is not understood well enough."""
_PLACE = re.compile(
    r"\b(bus|train|tram|metro|subway|truck|taxi|pit|rest|full|next|whistle|short) stop\b"
    r"|\bstop (sign|light|watch|motion|by)\b"
)
_CHINESE_CONTRARY = re.compile(
    r"(不要|不想|不会|不會|没有|沒有|不|别|別|未)(退订|退訂|取消订阅|取消訂閱|拒收)|取消(退订|退訂)"
)
_REPEATED = re.compile(r"(.)\1+")
_LETTERS = re.compile(r"\b[a-z](?: [a-z]){2,}\b")


def asked(text: str) -> Asked:
    """What this reply asks for; letter case, width, accents, punctuation and politeness do not matter."""
    words = _words(text)
    plain = [word for word in words if word not in _POLITE]
    if _refuses(words, plain):
        return Asked.STOP
    return Asked.START if len(plain) == 1 and plain[0] in _START else Asked.OTHER


def _refuses(words: list[str], plain: list[str]) -> bool:
    if not plain:
        return False
    if len(plain) == 1 and plain[0] in _ALONE:
        return True
    whole = _CHINESE_CONTRARY.sub("", "".join(words))
    return plain[0] in _FIRST or _in_words(plain) or any(refusal in whole for refusal in _CHINESE)


def _in_words(plain: list[str]) -> bool:
    sentence = " ".join(plain)
    if _PHRASES.search(sentence):
        return True
    if len(plain) <= _SHORT and _NO_CONTRARY.isdisjoint(plain):
        sentence = _CONTRARY.sub(" ", sentence)
    return any(map(_means_stop, _PLACE.sub(" ", sentence).split()))


def _means_stop(word: str) -> bool:
    return word in _ANYWHERE or _REPEATED.sub(r"\1", word) == "stop" or any(_close(word, known) for known in _LONG)


def _close(word: str, known: str) -> bool:
    """Whether a word is another one with at most two letters wrong, missing or too many."""
    if abs(len(word) - len(known)) > 2 or word[:2] != known[:2]:  # noqa: PLR2004
        return False
    before = list(range(len(known) + 1))
    for row, letter in enumerate(word, 1):
        now = [row]
        for column, other in enumerate(known, 1):
            now.append(min(before[column] + 1, now[-1] + 1, before[column - 1] + (letter != other)))
        before = now
    return before[-1] <= 2  # noqa: PLR2004


def _words(text: str) -> list[str]:
    """Lower-case words of a text, without accents and punctuation; ``opt out`` and ``s t o p`` become one word each."""
    wide = unicodedata.normalize("NFKD", text[:1600]).casefold()
    bare = "".join(letter for letter in wide if not unicodedata.combining(letter) and letter not in "'’`´")
    spaced = _REPLY_PREFIX.sub("", _NOT_A_WORD.sub(" ", bare).strip())
    words = _LETTERS.sub(lambda spelled: spelled[0].replace(" ", ""), spaced).split()
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
