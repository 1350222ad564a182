"""The signed links of a message: clicks, the open pixel, unsubscribe, preferences; and of a confirmation mail.

Also what an app shows us: the acknowledgement that a push carried, and a user's own pass to their inbox.

A token says which message it belongs to and which link it is; where a click leads is looked up in the database, never
taken from the request, and nobody without the key can make a token. One key signs all kinds, each under its own name,
so that a click's token is worth nothing at ``/u/``.
"""

from __future__ import annotations

import hmac
import re
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from html import escape, unescape
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

from orchestrator.channel.base import EmailPayload, Payload
from orchestrator.content.markup import ANCHOR

VERSION: Final = 1
TRAP: Final = 0
"""The number of the link that no person can see: what follows it is a machine."""
_FIELDS: Final = (1, 8, 8, 16)
_LENGTH: Final = sum(_FIELDS)
_TEXT_LENGTH: Final = (_LENGTH * 4 + 2) // 3
_KEY_BYTES: Final = 16
_PASS_LENGTH: Final = ((1 + 8 + 16) * 4 + 2) // 3
ACKNOWLEDGED: Final = frozenset({"push", "webhook"})
"""Channels through which the app's own code sees the message, and can say so. The inbox has marks of its own."""
ACK_HOLDS: Final = timedelta(days=30)
"""How long after it left a push may be acknowledged: phones are off, and on again weeks later."""
_IN_TEXT = re.compile(r"https://[^\s<>\"'()\[\]{}，。！？；：、（）《》「」【】]+")
_ASCII = re.compile(r"[!-~]+")
_TRAILING = ".,;:!?*_~"
_END = re.compile(r"</body\s*>", re.IGNORECASE)
_USUAL_END = "</body>"
_BODY = struct.Struct(">BQQ")


class Kind(StrEnum):
    """What a link is for: the first segment of its path."""

    CLICK = "c"
    OPEN = "o"
    UNSUBSCRIBE = "u"
    PREFERENCES = "p"
    CONFIRM = "confirm"
    """Its number is that of a double opt-in's request, not of a message."""
    ACK = "ack"
    """No link: what a push carries, and the app shows when it reports it. Its index is until when it holds."""
    INBOX = "inbox"
    """No link either: a user's pass to their own inbox."""


@dataclass(frozen=True, slots=True)
class Token:
    """What a genuine token says. ``message_id`` 0: a preview or a test."""

    message_id: int
    index: int = 0


@dataclass(frozen=True, slots=True)
class Tracked:
    """A message with its links replaced, and where each of them leads, by number."""

    payload: Payload
    targets: Mapping[int, str] = field(default_factory=dict)


@lru_cache(maxsize=1024)
def number_of(url: str) -> int:
    """A link's number: 63 bits of the address's SHA-256, so that every process knows it without asking. Never 0."""
    return int.from_bytes(sha256(url.encode()).digest()[:8], "big") >> 1 or 1


@dataclass(frozen=True, slots=True)
class Links:
    """Makes and reads the links of one deployment. ``key`` has at least 16 bytes and is never shown."""

    public_url: str
    key: bytes = field(repr=False)
    _begun: Mapping[Kind, HMAC] = field(init=False, repr=False, compare=False)
    """The seal of each kind as far as it is the same for all: the key and the kind's name are hashed once."""

    def __post_init__(self) -> None:
        """A short key could be guessed."""
        if len(self.key) < _KEY_BYTES:
            raise ValueError("the key of links is too short")
        object.__setattr__(self, "_begun", {kind: _begun(self.key, kind) for kind in Kind})

    def token(self, kind: Kind, message_id: int, index: int = 0) -> str:
        """44 characters that only we can make."""
        body = _BODY.pack(VERSION, message_id, index)
        return urlsafe_b64encode(body + self._seal(kind, body)).decode()  # 33 bytes: nothing is padded

    def read(self, kind: Kind, text: str) -> Token | None:
        """What a token says; None for one that was not made for this purpose, by us, exactly so."""
        if len(text) != _TEXT_LENGTH or not text.isascii():
            return None
        try:
            raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError:
            return None
        body, seal = raw[:-16], raw[-16:]
        genuine = hmac.compare_digest(seal, self._seal(kind, body))
        if not genuine or body[0] != VERSION or urlsafe_b64encode(raw).decode().rstrip("=") != text:
            return None
        return Token(int.from_bytes(body[1:9], "big"), int.from_bytes(body[9:17], "big"))

    def ack(self, message_id: int, machine: datetime) -> str:
        """What an app may acknowledge a push with; ``machine`` is the machine's time, as in all that expires."""
        return self.token(Kind.ACK, message_id, int((machine + ACK_HOLDS).timestamp()))

    def acknowledged(self, text: str, machine: datetime) -> int | None:
        """The message that an acknowledgement is about; None for one that is not ours, or is too old."""
        token = self.read(Kind.ACK, text)
        return None if token is None or token.index <= machine.timestamp() else token.message_id

    def inbox_pass(self, user: str, until: datetime) -> str:
        """What opens the inbox of one user (the app's own id) and nothing else; ``until`` is of the machine's time."""
        body = bytes([VERSION]) + int(until.timestamp()).to_bytes(8, "big")
        return urlsafe_b64encode(body + self._seal(Kind.INBOX, body + user.encode())).decode().rstrip("=")

    def opens_inbox(self, text: str, user: str, machine: datetime) -> bool:
        """Whether ``text`` is this user's pass, and holds."""
        if len(text) != _PASS_LENGTH or not text.isascii():
            return False
        try:
            raw, name = urlsafe_b64decode(text + "=" * (-len(text) % 4)), user.encode()
        except ValueError:
            return False
        body, seal = raw[:-16], raw[-16:]
        genuine = hmac.compare_digest(seal, self._seal(Kind.INBOX, body + name)) and body[:1] == bytes([VERSION])
        whole = urlsafe_b64encode(raw).decode().rstrip("=") == text  # one way to write it: what is left over is zero
        return genuine and whole and int.from_bytes(body[1:], "big") > machine.timestamp()

    def address(self, kind: Kind, message_id: int, index: int = 0) -> str:
        """The whole address of a link."""
        end = ".gif" if kind is Kind.OPEN else ""
        return f"{self.public_url}/{kind}/{self.token(kind, message_id, index)}{end}"

    def facts(self, message_id: int) -> dict[str, str]:
        """What templates know of them."""
        return {
            "unsubscribe_url": self.address(Kind.UNSUBSCRIBE, message_id),
            "preferences_url": self.address(Kind.PREFERENCES, message_id),
        }

    def track(self, payload: Payload, message_id: int) -> Tracked:
        """A mail with https links that lead through us, its pixel and its unsubscribe address; others as they are."""
        if not isinstance(payload, EmailPayload):
            return Tracked(payload)
        targets: dict[int, str] = {}
        known: dict[str, str] = {}
        """The addresses that the HTML links to, and what each becomes."""

        def through_us(url: str) -> str:
            if not url.startswith("https://") or url.startswith(f"{self.public_url}/"):
                return url
            number = number_of(url)
            targets[number] = url
            return self.address(Kind.CLICK, message_id, number)

        def anchor(match: re.Match[str]) -> str:
            url = unescape(match[2])
            if (ours := known.get(url)) is None:
                ours = known[url] = through_us(url)
            return match[1] + escape(ours) + match[3]

        def written(match: re.Match[str]) -> str:
            url = match[0].rstrip(_TRAILING)
            if url not in known and (plain := _ASCII.match(url)):  # Chinese goes on without a space: 打开https://…查看
                url = plain[0].rstrip(_TRAILING)
            return (known.get(url) or through_us(url)) + match[0][len(url) :]

        html, text = ANCHOR.sub(anchor, payload.html), _IN_TEXT.sub(written, payload.text)
        unsubscribe = self.address(Kind.UNSUBSCRIBE, message_id)
        return Tracked(
            replace(payload, html=self._with_pixel(html, message_id), text=text, unsubscribe=unsubscribe), targets
        )

    def _with_pixel(self, html: str, message_id: int) -> str:
        """The HTML with what shows an open, and with what only a machine follows."""
        unseen = 'tabindex="-1" aria-hidden="true" style="display:none"'
        trap = f'<a href="{self.address(Kind.CLICK, message_id, TRAP)}" {unseen}></a>'
        pixel = f'<img src="{self.address(Kind.OPEN, message_id)}" width="1" height="1" alt="" style="display:block">'
        place = _end_of_body(html)
        return html[:place] + trap + pixel + html[place:]

    def _seal(self, kind: Kind, body: bytes) -> bytes:
        sealing = self._begun[kind].copy()
        sealing.update(body)
        return sealing.finalize()[:16]


def _begun(key: bytes, kind: Kind) -> HMAC:
    begun = HMAC(key, hashes.SHA256())
    begun.update(kind.encode() + b"\0")
    return begun


def _end_of_body(html: str) -> int:
    """Where the last ``</body>`` begins, however it is written; the end of a text that has none."""
    usual = html.rfind(_USUAL_END)
    ends = [match.start() for match in _END.finditer(html, max(usual, 0))]
    return ends[-1] if ends else len(html)
